// SPDX-License-Identifier: MPL-2.0

package registrar

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"podplane/meshpod"
)

// Whatever happens to pods, Consul and the registrar, in the end the catalog has what the pods ask for, and what is
// others' is untouched.
func TestModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			m := &model{world: newWorld(t), random: rand.New(rand.NewPCG(seed, 1))}
			m.plant()
			for range 100 {
				m.step()
			}
			m.settle()
			m.check()
			m.consul.wrote()
			m.settle()
			if n := m.consul.wrote(); n != 0 {
				t.Errorf("%d writes though nothing changed", n)
			}
		})
	}
}

type model struct {
	*world
	random *rand.Rand
	uid    int
}

var foreignPlaces = []place{
	{node: "n1-virtual", id: "other-cluster"}, {node: "n2-virtual", id: "other-manager"}, {node: "n9-virtual", id: "plain"},
}

// plant registers what is not this cluster's.
func (m *model) plant() {
	for i, p := range foreignPlaces {
		meta := []map[string]string{
			{metaPod: "web-1", metaUID: "u1", metaNamespace: "default", metaManagedBy: ManagedBy, metaCluster: "c2"},
			{metaPod: "web-1", metaUID: "u1", metaNamespace: "default", metaManagedBy: "somebody", metaCluster: "c1"},
			nil,
		}[i]
		_, err := m.consul.client.Catalog().Register(&api.CatalogRegistration{
			Node: p.node, Address: "192.0.2.77", NodeMeta: map[string]string{metaSynthetic: "true"},
			Service: &api.AgentService{ID: p.id, Service: "planted", Meta: meta}, Check: &api.AgentCheck{Status: "passing"},
		}, nil)
		if err != nil {
			m.t.Fatal(err)
		}
	}
}

func (m *model) key() types.NamespacedName {
	return types.NamespacedName{Namespace: []string{"default", "team"}[m.random.IntN(2)], Name: fmt.Sprintf("web-%d", m.random.IntN(4))}
}

// step does one thing at random, and lets the registrar do some of its work.
func (m *model) step() {
	ctx, key := m.t.Context(), m.key()
	pod := &corev1.Pod{}
	exists := m.kube.Get(ctx, key, pod) == nil
	switch m.random.IntN(10) {
	case 0:
		m.consul.mu.Lock()
		m.consul.fail = m.trouble()
		m.consul.mu.Unlock()
	case 1:
		m.restart()
	case 2:
		_ = m.sweepOnce() // its failures are followed by other sweeps
	default:
		m.event(key, pod, exists)
	}
	for range m.random.IntN(4) {
		_, _ = m.do(m.key()) // failures are tried again
	}
}

// event changes one pod in the cluster.
func (m *model) event(key types.NamespacedName, pod *corev1.Pod, exists bool) {
	ctx := m.t.Context()
	if !exists {
		m.uid++
		fresh := newPod(key.Namespace, key.Name, fmt.Sprintf("uid-%d", m.uid), onNode(fmt.Sprintf("n%d", m.random.IntN(3))))
		fresh.Status.PodIP = fmt.Sprintf("10.0.0.%d", m.uid%250)
		m.create(fresh)
		return
	}
	var err error
	switch m.random.IntN(6) {
	case 0, 1:
		err = m.kube.Delete(ctx, pod, client.GracePeriodSeconds(0))
	case 2:
		pod.Status.Phase = corev1.PodSucceeded
		err = m.kube.Status().Update(ctx, pod)
	case 3:
		pod.Annotations[meshpod.AnnotationTags] = fmt.Sprintf("t%d", m.random.IntN(3))
		err = m.kube.Update(ctx, pod)
	default:
		pod.Status.Conditions[0].Status = []corev1.ConditionStatus{"True", "False"}[m.random.IntN(2)]
		err = m.kube.Status().Update(ctx, pod)
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

// trouble has some of Consul's requests fail, before or after they were carried out.
func (m *model) trouble() func(*http.Request, bool) int {
	share := m.random.IntN(3)
	random := rand.New(rand.NewPCG(m.random.Uint64(), 2))
	return func(*http.Request, bool) int {
		if random.IntN(6) < share {
			return []int{http.StatusInternalServerError, http.StatusTooManyRequests, http.StatusForbidden}[random.IntN(3)]
		}
		return 0
	}
}

// settle has the registrar do all that it would without further trouble.
func (m *model) settle() {
	m.t.Helper()
	m.consul.mu.Lock()
	m.consul.fail = nil
	m.consul.mu.Unlock()
	for range 3 { // a failure in the first may only be found by the next
		if err := m.sweepOnce(); err == nil {
			break
		}
	}
	if err := m.sweepOnce(); err != nil {
		m.t.Fatal(err)
	}
}

// check compares the catalog with what is computed from the pods alone.
func (m *model) check() {
	m.t.Helper()
	want := map[place]string{}
	for _, p := range foreignPlaces {
		want[p] = "planted passing"
	}
	var pods corev1.PodList
	if err := m.kube.List(m.t.Context(), &pods); err != nil {
		m.t.Fatal(err)
	}
	for _, pod := range pods.Items {
		if pod.Status.Phase == corev1.PodSucceeded {
			continue
		}
		status := map[corev1.ConditionStatus]string{"True": "passing", "False": "critical"}[pod.Status.Conditions[0].Status]
		node, id := pod.Spec.NodeName+"-virtual", pod.Namespace+"."+pod.Name+"-0"
		rest := fmt.Sprintf("%s %s %s %s", pod.UID, pod.Status.PodIP, pod.Annotations[meshpod.AnnotationTags], status)
		want[place{node: node, id: id}] = "web " + rest
		want[place{node: node, id: id + "-sidecar-proxy"}] = "web-sidecar-proxy " + rest
	}
	got, nodes := map[place]string{}, map[string]bool{}
	for _, s := range m.consul.all() {
		nodes[s.node] = true
		if s.service.Service == "planted" {
			got[s.place] = "planted " + s.status
			continue
		}
		got[s.place] = fmt.Sprintf("%s %s %s %s %s", s.service.Service, s.service.Meta[metaUID], s.service.Address, strings.Join(s.service.Tags, ","), s.status)
	}
	if !maps.Equal(got, want) {
		m.t.Errorf("the catalog has\n%v\nnot\n%v", got, want)
	}
	if !slices.Equal(slices.Sorted(maps.Keys(m.consul.nodes)), slices.Sorted(maps.Keys(nodes))) {
		m.t.Errorf("there are nodes %v, and instances on %v", slices.Sorted(maps.Keys(m.consul.nodes)), slices.Sorted(maps.Keys(nodes)))
	}
}
