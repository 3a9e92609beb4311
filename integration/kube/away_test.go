// SPDX-License-Identifier: MPL-2.0

package kube

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// registered tells whether a service has as many instances, and its proxies too, and all pass.
func registered(service string, count int) func(context.Context) bool {
	return func(ctx context.Context) bool {
		for _, name := range []string{service, service + "-sidecar-proxy"} {
			list := instances(ctx, name)
			if len(list) != count {
				return false
			}
			for _, i := range list {
				if !i.passing() {
					return false
				}
			}
		}
		return true
	}
}

// What happens while Consul is away is made up for when it is back.
func TestConsulIsAway(t *testing.T) {
	ctx := bounded(t)
	namespace := newNamespace(t, "away", restricted())
	stays, goes, comes := newAccount(t, namespace, "away"), newAccountNamed(t, namespace, "goes"), newAccountNamed(t, namespace, "comes")
	leader(ctx, t)
	awaitReady(ctx, t, createInjected(t, namespace, "stays", stays, nil))
	gone := createInjected(t, namespace, "goes", goes, nil)
	awaitReady(ctx, t, gone)
	await(ctx, t, "both are registered", func(ctx context.Context) bool { return registered(stays, 1)(ctx) && registered(goes, 1)(ctx) })

	must(t, consul.Stop(0))
	key := createInjected(t, namespace, "comes", comes, nil) // admissions do not need Consul
	must(t, cluster.Delete(ctx, &corev1.Pod{ObjectMeta: objectMeta(gone)}, client.GracePeriodSeconds(1)))
	await(ctx, t, "the deleted pod is gone", func(ctx context.Context) bool { return readPod(ctx, gone) == nil })
	must(t, consul.Restart(ctx, 0))

	await(ctx, t, "the new pod is registered", func(ctx context.Context) bool { return len(instances(ctx, comes)) == 1 })
	awaitReady(ctx, t, key)
	await(ctx, t, "all is as it should be", func(ctx context.Context) bool {
		return registered(stays, 1)(ctx) && registered(comes, 1)(ctx) && registered(goes, 0)(ctx)
	})
}

// Nothing is deregistered because the API server does not answer, even for longer than a lease lives.
func TestAPIServerIsAway(t *testing.T) {
	ctx := bounded(t)
	namespace := newNamespace(t, "apiless", restricted())
	account := newAccount(t, namespace, "apiless")
	leader(ctx, t)
	awaitReady(ctx, t, createInjected(t, namespace, "app", account, nil))
	await(ctx, t, "the pod is registered", registered(account, 1))

	must(t, cluster.PauseAPI())
	resume := func() { must(t, cluster.ResumeAPI()) }
	watching, cancel := context.WithTimeout(ctx, 25*time.Second)
	defer cancel()
	for watching.Err() == nil {
		if !registered(account, 1)(ctx) {
			resume()
			t.Fatal("the pod was touched while the API server was away")
		}
		<-time.After(200 * time.Millisecond)
	}
	resume()
	later := createInjected(t, namespace, "later", account, nil)
	awaitReady(ctx, t, later)
	await(ctx, t, "both pods are registered", registered(account, 2))
}

// Two pods of the same name, in two namespaces and on one node, do not get in each other's way.
func TestSameNameInTwoNamespaces(t *testing.T) {
	ctx := bounded(t)
	leader(ctx, t)
	var keys []types.NamespacedName
	var accounts []string
	for _, prefix := range []string{"twin-a", "twin-b"} {
		namespace := newNamespace(t, prefix, restricted())
		account := newAccount(t, namespace, prefix)
		key := createInjected(t, namespace, "same", account, nil)
		keys, accounts = append(keys, key), append(accounts, account)
	}
	for i, key := range keys {
		awaitReady(ctx, t, key)
		await(ctx, t, accounts[i]+" is registered", registered(accounts[i], 1))
	}
	must(t, cluster.Delete(ctx, &corev1.Pod{ObjectMeta: objectMeta(keys[0])}))
	expectForgotten(ctx, t, keys[0].Namespace, accounts[0])
	if !registered(accounts[1], 1)(ctx) {
		t.Error("the other pod of the name was touched")
	}
}
