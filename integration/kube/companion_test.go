// SPDX-License-Identifier: MPL-2.0

package kube

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"syscall"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"podplane/integration/consultest"
	"podplane/integration/pace"
	"podplane/meshpod"
)

// replicas gives the pods of the companion.
func replicas(ctx context.Context) []corev1.Pod {
	pods := &corev1.PodList{}
	if cluster.Client().List(ctx, pods, client.InNamespace(systemNamespace),
		client.MatchingLabels{"app.kubernetes.io/name": "podplane-injector"}) != nil {
		return nil
	}
	return pods.Items
}

// leader waits for the replica that registers pods.
func leader(ctx context.Context, t *testing.T) types.NamespacedName {
	t.Helper()
	var key types.NamespacedName
	await(ctx, t, "a replica leads", func(ctx context.Context) bool {
		for _, p := range replicas(ctx) {
			body, err := get(ctx, "http://"+p.Status.PodIP+":9444/metrics")
			if err == nil && strings.Contains(body, "\npodplane_injector_leader 1\n") {
				key = client.ObjectKeyFromObject(&p)
				return true
			}
		}
		return false
	})
	return key
}

func lease(ctx context.Context, t *testing.T) string {
	t.Helper()
	l := &coordinationv1.Lease{}
	if cluster.Client().Get(ctx, client.ObjectKey{Namespace: systemNamespace, Name: "podplane-injector"}, l) != nil || l.Spec.HolderIdentity == nil {
		return ""
	}
	return *l.Spec.HolderIdentity
}

// Another replica takes over when the leader is killed, and pods are admitted all the while.
func TestLeaderIsKilled(t *testing.T) {
	ctx := bounded(t)
	namespace := newNamespace(t, "takeover", restricted())
	account := newAccount(t, namespace, "takeover")
	was, holder := leader(ctx, t), lease(ctx, t)

	probing := admit(ctx, t, namespace, account)
	start := time.Now()
	must(t, node.Kill(was, "podplane-injector", syscall.SIGKILL))
	pod := waitingPod(namespace, "takeover", account, nil)
	await(ctx, t, "a pod is made", func(ctx context.Context) bool { return cluster.Client().Create(ctx, pod) == nil })
	await(ctx, t, "the new pod is registered", func(ctx context.Context) bool { return len(instances(ctx, account)) == 1 })
	took := time.Since(start)
	probing.end()
	const takeover = 20 * time.Second
	t.Logf("registered after the leader was killed: %s (promised: %s); %d of %d admissions meanwhile failed",
		took.Round(time.Millisecond), takeover, len(probing.failed), probing.count)
	if pace.Late(t, took, takeover) {
		t.Errorf("the takeover took %s", took)
	}
	if now := lease(ctx, t); now == holder {
		t.Errorf("%s holds the lease again", now)
	}
	for _, f := range probing.failed {
		// What is on a connection of the killed one is lost with it, and an API server says so to whoever asked. It may
		// also take a connection of which it has not heard yet that it is gone.
		if strings.HasSuffix(f.what, "EOF") || strings.HasSuffix(f.what, "connection reset by peer") {
			if !pace.Late(t, f.begun.Sub(start), 100*time.Millisecond) {
				t.Logf("lost with the leader, %s after it: %s", f.begun.Sub(start), f.what)
				continue
			}
		}
		t.Errorf("not admitted, %s after the leader was killed: %s", f.begun.Sub(start), f.what)
	}
	awaitReady(ctx, t, client.ObjectKeyFromObject(pod))
}

// admissions are what an API server was asked one after the other.
type admissions struct {
	count  int
	failed []failure
	end    func()
}

// failure is a pod that was not admitted, or without a sidecar.
type failure struct {
	begun time.Time
	what  string
}

// admit has pods admitted until end is called, which must be before anything is read.
func admit(ctx context.Context, t *testing.T, namespace, account string) *admissions {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	a := &admissions{}
	done := make(chan struct{})
	a.end = func() {
		cancel()
		<-done
	}
	t.Cleanup(a.end)
	go func() {
		defer close(done)
		for ; ctx.Err() == nil; a.count++ {
			begun := time.Now()
			pod := waitingPod(namespace, fmt.Sprintf("dry-%d", a.count), account, nil)
			err := cluster.DryRun(ctx, pod)
			switch {
			case ctx.Err() != nil:
			case err != nil:
				a.failed = append(a.failed, failure{begun, err.Error()})
			case len(pod.Spec.InitContainers)+len(pod.Spec.Containers) < 2:
				a.failed = append(a.failed, failure{begun, "admitted without a sidecar"})
			}
		}
	}()
	return a
}

// The checks of a pod follow its readiness within a second, and are critical as soon as it is to go.
func TestReadinessIsFollowed(t *testing.T) {
	ctx := bounded(t)
	namespace := newNamespace(t, "readiness", restricted())
	account := newAccount(t, namespace, "readiness")
	pod := waitingPod(namespace, "app", account, nil)
	main := &pod.Spec.Containers[0]
	main.Image, main.Command, main.Args = "http-echo", nil, []string{"-listen=:8080", "-text=x"}
	main.ReadinessProbe = &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 1}
	main.ReadinessProbe.HTTPGet = &corev1.HTTPGetAction{Path: "/"}
	main.ReadinessProbe.HTTPGet.Port.IntVal = 8080
	must(t, cluster.Client().Create(ctx, pod))
	key := client.ObjectKeyFromObject(pod)
	leader(ctx, t)
	awaitReady(ctx, t, key)
	passing := func(want bool) func(context.Context) bool {
		return func(ctx context.Context) bool {
			list := append(instances(ctx, account), instances(ctx, account+"-sidecar-proxy")...)
			return len(list) == 2 && list[0].passing() == want && list[1].passing() == want
		}
	}
	withinSecond(t, "a ready pod passes", passing(true))
	must(t, node.Kill(key, "main", syscall.SIGSTOP))
	await(ctx, t, "the pod is not ready", func(ctx context.Context) bool { return !ready(readPod(ctx, key)) })
	withinSecond(t, "a pod that is not ready is critical", passing(false))
	must(t, node.Kill(key, "main", syscall.SIGCONT))
	awaitReady(ctx, t, key)
	withinSecond(t, "a pod that is ready again passes", passing(true))

	object := readPod(ctx, key)
	must(t, cluster.Delete(ctx, object))
	withinSecond(t, "a pod that is to go is critical, or gone", func(ctx context.Context) bool {
		list := instances(ctx, account)
		return len(list) == 0 || !list[0].passing()
	})
	expectForgotten(ctx, t, namespace, account)
}

// A pod that vanishes, with all its processes killed, logs nobody out: its token is deleted all the same.
func TestPodVanishes(t *testing.T) {
	ctx := bounded(t)
	namespace := newNamespace(t, "vanish", restricted())
	account := newAccount(t, namespace, "vanish")
	leader(ctx, t)
	key := createInjected(t, namespace, "app", account, nil)
	awaitReady(ctx, t, key)
	await(ctx, t, "it is registered", registered(account, 1))
	if !hasToken(ctx, t, namespace, account) {
		t.Fatal("it has no token")
	}
	must(t, cluster.Delete(ctx, &corev1.Pod{ObjectMeta: objectMeta(key)}, client.GracePeriodSeconds(0)))
	expectForgotten(ctx, t, namespace, account)
}

// While nothing changes, nothing is written to Consul.
func TestIdleWritesNothing(t *testing.T) {
	ctx := bounded(t)
	namespace := newNamespace(t, "idle", restricted())
	account := newAccount(t, namespace, "idle")
	leader(ctx, t)
	awaitReady(ctx, t, createInjected(t, namespace, "idle", account, nil))
	await(ctx, t, "the pod passes", func(ctx context.Context) bool {
		list := instances(ctx, account)
		return len(list) == 1 && list[0].passing()
	})
	// What earlier tests have left is on its way out.
	await(ctx, t, "no other pod is left", func(ctx context.Context) bool {
		pods := &corev1.PodList{}
		err := cluster.Client().List(ctx, pods, client.MatchingLabels{meshpod.LabelInjectStatus: meshpod.StatusInjected})
		nodes, nodesErr := catalogNodes(ctx)
		return err == nil && nodesErr == nil && len(pods.Items) == 1 && len(nodes) == 1
	})
	before := writes(ctx, t)
	for settled := false; !settled; {
		<-time.After(2 * time.Second) // longer than a token is kept for deletion together with others
		now := writes(ctx, t)
		settled, before = maps.Equal(now, before), now
	}
	// This is the time for which nothing must happen, not a wait for something.
	<-time.After(15 * time.Second)
	after := writes(ctx, t)
	t.Logf("writes to Consul in 15 s in which nothing changed: %v, as before: %t", after, maps.Equal(after, before))
	for call, count := range after {
		if count != before[call] {
			t.Errorf("%s was called %v times while nothing changed", call, count-before[call])
		}
	}
}

// newAccount makes a ServiceAccount that no other test has, and allows its service to be reached.
func newAccount(t *testing.T, namespace, prefix string) string {
	t.Helper()
	ctx := bounded(t)
	account := &corev1.ServiceAccount{}
	account.Namespace, account.Name = namespace, prefix+strings.TrimPrefix(namespace, prefix)
	must(t, cluster.Client().Create(ctx, account),
		consul.Client().SetIntention(ctx, "*", account.Name, consultest.Allow))
	return account.Name
}

// newAccountNamed is newAccount for a further one in the same namespace.
func newAccountNamed(t *testing.T, namespace, name string) string {
	t.Helper()
	account := &corev1.ServiceAccount{}
	account.Namespace, account.Name = namespace, name+"-"+namespace
	must(t, cluster.Client().Create(bounded(t), account))
	return account.Name
}

func objectMeta(key types.NamespacedName) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}
}
