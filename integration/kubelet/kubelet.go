// SPDX-License-Identifier: MPL-2.0

package kubelet

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"podplane/integration/kubelet/container"
	"podplane/integration/kubetest"
	"podplane/integration/netns"
)

// Image is what stands for a container image.
type Image struct {
	// Programs are files of this machine by their paths in the container.
	Programs map[string]string
	// Folders are folders of this machine that are visible, read-only, at the same path in the container.
	Folders []string
	// Entrypoint and Cmd are the image's, as a pod's `command` and `args` replace them.
	Entrypoint, Cmd []string
	// User is the uid that the image names; 0 is root.
	User int
}

// Config is what a kubelet needs. All fields are required.
type Config struct {
	// Cluster is the control plane.
	Cluster *kubetest.Cluster
	// Node is the name of the Node object that is made.
	Node string
	// Network joins the pods.
	Network *netns.Bridge
	// Box is the path of program box.
	Box string
	// Images are by repository, without a tag.
	Images map[string]Image
	// Dir is a folder for volumes.
	Dir string
	// Logf tells of what happens to pods.
	Logf func(format string, args ...any)
}

// Kubelet is a node. Its methods may be called from several goroutines.
type Kubelet struct {
	cfg    Config
	client client.WithWatch

	mu     sync.Mutex
	pods   map[types.UID]*pod
	begun  map[types.UID]bool              // an event may be older than the end of the pod
	ended  map[types.NamespacedName]string // output of pods that are gone
	closed bool
	wg     sync.WaitGroup
}

// New makes the Node object. It starts nothing.
func New(ctx context.Context, cfg Config) (*Kubelet, error) {
	k := &Kubelet{
		cfg: cfg, client: cfg.Cluster.Client(),
		pods: map[types.UID]*pod{}, begun: map[types.UID]bool{}, ended: map[types.NamespacedName]string{},
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: cfg.Node, Labels: map[string]string{
		corev1.LabelHostname: cfg.Node, corev1.LabelTopologyRegion: "test", corev1.LabelTopologyZone: "test-a",
	}}}
	if err := k.client.Create(ctx, node); err != nil {
		return nil, fmt.Errorf("create node: %w", err)
	}
	was := node.DeepCopy()
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: cfg.Network.Addr().String()}}
	// A patch, because controllers write to the object too.
	if err := k.client.Status().Patch(ctx, node, client.MergeFrom(was)); err != nil {
		return nil, fmt.Errorf("set status of node: %w", err)
	}
	return k, nil
}

// Run binds pods that have no node, runs those that are bound here, and forwards ClusterIPs, until ctx is done. Then it
// ends all processes at once.
func (k *Kubelet) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	mine, err := k.watch(ctx, &corev1.Pod{}, fields.OneTermEqualSelector("spec.nodeName", k.cfg.Node), k.sync(ctx))
	if err != nil {
		return err
	}
	unbound, err := k.watch(ctx, &corev1.Pod{}, fields.OneTermEqualSelector("spec.nodeName", ""), k.bind(ctx))
	if err != nil {
		return err
	}
	proxy := newProxy(k.cfg)
	services, err := k.watch(ctx, &corev1.Service{}, nil, func(o client.Object, gone bool) {
		proxy.service(ctx, o, gone)
	})
	if err != nil {
		return err
	}
	slices, err := k.watch(ctx, &discoveryv1.EndpointSlice{}, nil, proxy.slice)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i, c := range []cache.Cache{mine, unbound, services, slices} {
		wg.Go(func() {
			defer cancel()
			errs[i] = c.Start(ctx)
		})
	}
	wg.Wait()
	proxy.close()
	k.mu.Lock()
	k.closed = true
	for _, p := range k.pods {
		p.kill()
	}
	k.mu.Unlock()
	k.wg.Wait()
	return errors.Join(errs...)
}

// watch has handle called for each state of each object that the selector chooses.
func (k *Kubelet) watch(
	ctx context.Context, object client.Object, selector fields.Selector, handle func(object client.Object, gone bool),
) (cache.Cache, error) {
	c, err := cache.New(k.cfg.Cluster.Admin(), cache.Options{
		Scheme:   kubetest.Scheme(),
		ByObject: map[client.Object]cache.ByObject{object: {Field: selector}},
	})
	if err != nil {
		return nil, err
	}
	informer, err := c.GetInformer(ctx, object, cache.BlockUntilSynced(false))
	if err != nil {
		return nil, err
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { handle(o.(client.Object), false) },
		UpdateFunc: func(_, o any) { handle(o.(client.Object), false) },
		DeleteFunc: func(o any) {
			if lost, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
				o = lost.Obj
			}
			handle(o.(client.Object), true)
		},
	})
	return c, err
}

// bind is the scheduler.
func (k *Kubelet) bind(ctx context.Context) func(client.Object, bool) {
	return func(object client.Object, gone bool) {
		if gone || object.GetDeletionTimestamp() != nil {
			return
		}
		binding := &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: k.cfg.Node}}
		err := k.client.SubResource("binding").Create(ctx, object, binding)
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) && ctx.Err() == nil {
			k.cfg.Logf("bind %s/%s: %v", object.GetNamespace(), object.GetName(), err)
		}
	}
}

// sync starts pods that are new and ends those that are to go.
func (k *Kubelet) sync(ctx context.Context) func(client.Object, bool) {
	return func(object client.Object, gone bool) {
		spec, _ := object.(*corev1.Pod)
		k.mu.Lock()
		defer k.mu.Unlock()
		p := k.pods[spec.UID]
		switch {
		case gone:
			if p != nil {
				p.kill()
			}
		case p == nil && !k.closed && !k.begun[spec.UID] && !over(spec):
			k.begun[spec.UID] = true
			p = newPod(k, spec.DeepCopy())
			k.pods[spec.UID] = p
			k.wg.Go(func() {
				p.run(context.WithoutCancel(ctx))
				k.mu.Lock()
				defer k.mu.Unlock()
				delete(k.pods, spec.UID)
				k.ended[client.ObjectKeyFromObject(spec)] = p.output()
			})
			fallthrough
		case p != nil && spec.DeletionTimestamp != nil:
			if spec.DeletionTimestamp != nil {
				p.delete(spec)
			}
		case p == nil && spec.DeletionTimestamp != nil && !k.closed: // a pod that has ended is to go
			k.wg.Go(func() { k.forget(context.WithoutCancel(ctx), spec) })
		}
	}
}

// over tells whether a pod has ended.
func over(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// forget tells the API server that a pod that was deleted has ended.
func (k *Kubelet) forget(ctx context.Context, p *corev1.Pod) {
	zero := client.GracePeriodSeconds(0)
	err := k.client.Delete(ctx, p, zero, client.Preconditions{UID: &p.UID})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) && ctx.Err() == nil {
		k.cfg.Logf("remove %s/%s: %v", p.Namespace, p.Name, err)
	}
}

// find gives a pod that runs.
func (k *Kubelet) find(key types.NamespacedName) *pod {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range k.pods {
		if client.ObjectKeyFromObject(p.object) == key {
			return p
		}
	}
	return nil
}

// image gives the image that stands for a container's, whatever its registry and tag.
func (k *Kubelet) image(name string) (Image, error) {
	base := name[strings.LastIndex(name, "/")+1:]
	base, _, _ = strings.Cut(base, "@")
	base, _, _ = strings.Cut(base, ":")
	image, ok := k.cfg.Images[base]
	if !ok {
		return Image{}, fmt.Errorf("no image stands for %q", name)
	}
	return image, nil
}

// namespaces are those of every container.
const namespaces = container.Namespaces

func (k *Kubelet) dir(p *corev1.Pod) string { return filepath.Join(k.cfg.Dir, string(p.UID)) }
