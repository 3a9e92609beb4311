// SPDX-License-Identifier: MPL-2.0

package registrar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"podplane/meshpod"
)

// What is asked of Consul Enterprise, which no test runs against.
func TestEnterpriseRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) {
		c.Partition, c.CrossNamespacePolicy = "part", "cross"
		c.Namespaces = meshpod.Destination{Enabled: true, Mirror: true, Prefix: "k8s-"}
	})
	pod := w.put(newPod("team", "web", "u1", ready(corev1.ConditionFalse)))
	w.change(pod, ready(corev1.ConditionTrue))
	w.remove(pod)
	w.expect()
	for _, want := range [][]string{
		{"GET /v1/namespace/k8s-team?partition=part"},
		{"PUT /v1/namespace?partition=part", `"Name":"k8s-team"`, `"PolicyDefaults":[{"ID":"","Name":"cross"}]`},
		{"PUT /v1/catalog/register", `"Namespace":"k8s-team","Partition":"part"`, `"SkipNodeUpdate":true,"Partition":"part"`},
		{"PUT /v1/txn", `"Verb":"set"`, `"Namespace":"k8s-team","Partition":"part"`},
		{"GET /v1/catalog/node-services/n1-virtual?", "ns=%2A", "partition=part"},
		{"PUT /v1/txn", `"Verb":"delete-cas"`, `"Namespace":"k8s-team","Partition":"part"`},
	} {
		if !slices.ContainsFunc(w.consul.requests, func(r string) bool {
			return !slices.ContainsFunc(want, func(part string) bool { return !strings.Contains(r, part) })
		}) {
			t.Errorf("no request has %q among\n%s", want, strings.Join(w.consul.requests, "\n"))
		}
	}
	w.put(newPod("team", "web-2", "u2"))
	created := 0
	for _, r := range w.consul.requests {
		if strings.HasPrefix(r, "PUT /v1/namespace") {
			created++
		}
	}
	if created != 1 {
		t.Errorf("the namespace was created %d times", created)
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.AuthMethod = "pods" })
	pod := w.put(newPod("default", "web", "u1"))
	w.put(newPod("default", "stays", "u2"))
	for accessor, description := range map[string]string{
		"mine": `token created via login: {"pod":"default/web","pod-uid":"u1"}`, "theirs": `token created via login: {"pod":"default/stays","pod-uid":"u2"}`,
		"earlier": `token created via login: {"pod":"default/stays","pod-uid":"u0"}`, "no uid": `token created via login: {"pod":"default/web"}`,
		"no meta": "token created via login", "bad": "token created via login: {",
	} {
		w.consul.tokens[accessor] = &api.ACLTokenListEntry{AccessorID: accessor, Description: description, AuthMethod: "pods"}
	}
	w.consul.tokens["other method"] = &api.ACLTokenListEntry{
		AccessorID: "other method", AuthMethod: "people", Description: `token created via login: {"pod":"default/web","pod-uid":"u1"}`,
	}
	w.remove(pod)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.tokens.Start(ctx) }()
	eventually(t, func() bool {
		w.consul.mu.Lock()
		defer w.consul.mu.Unlock()
		return w.consul.tokens["mine"] == nil
	})
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if w.consul.tokens["earlier"] == nil {
		t.Error("a token was deleted without a sweep")
	}
	if err := w.sweepOnce(); err != nil {
		t.Fatal(err)
	}
	for accessor, want := range map[string]bool{
		"mine": false, "earlier": false, "theirs": true, "no uid": true, "no meta": true, "bad": true, "other method": true,
	} {
		if has := w.consul.tokens[accessor] != nil; has != want {
			t.Errorf("token %q is there: %t", accessor, has)
		}
	}
}

// A round that cannot finish leaves the rest for the next one, which are not forgotten, and not without bound.
func TestTokensOfTheNextRound(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.AuthMethod = "pods" })
	for i := range tokenPage + 5 {
		id := fmt.Sprintf("t%d", i)
		w.consul.tokens[id] = &api.ACLTokenListEntry{
			AccessorID: id, AuthMethod: "pods", Description: fmt.Sprintf(`token created via login: {"pod":"default/%s","pod-uid":"%[1]s"}`, id),
		}
		w.tokens.add("", types.UID(id))
	}
	w.consul.fail = func(*http.Request, bool) int { return http.StatusForbidden }
	if err := w.tokens.round(t.Context()); err == nil {
		t.Error("no error")
	}
	w.consul.fail = nil
	for _, left := range []int{5, 0} {
		if err := w.tokens.round(t.Context()); err != nil || len(w.consul.tokens) != left {
			t.Errorf("%d tokens are left, not %d; %v", len(w.consul.tokens), left, err)
		}
	}
	for i := range tokensMost + 5 {
		w.tokens.add("", types.UID(fmt.Sprint(i)))
	}
	if n := len(w.tokens.take()[""]); n != tokensMost {
		t.Errorf("%d pods are remembered", n)
	}
}

// What has been said is not said again every 15 seconds.
func TestTokensFailureIsLoggedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		said := &logs{}
		refusing := &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusForbidden, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("Permission denied"))}, nil
		})}
		client, err := api.NewClient(&api.Config{HttpClient: refusing})
		if err != nil {
			t.Fatal(err)
		}
		m, err := newMetrics(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		deleter := newTokens(Config{Consul: client, AuthMethod: "pods", Logger: hclog.New(&hclog.LoggerOptions{Output: said})}.withDefaults(), m)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- deleter.Start(ctx) }()
		deleter.add("", "u1")
		<-time.After(5 * tokensRetry)
		if n := said.count("cannot delete tokens"); n != 1 {
			t.Errorf("it is logged %d times", n)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if len(deleter.take()[""]) != 1 {
			t.Error("the pod was forgotten")
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestConfigValidation(t *testing.T) {
	t.Parallel()
	err := Config{
		NodeSuffix: "_X", Workers: -1, Timeout: -1, SweepInterval: time.Millisecond, NodeMeta: map[string]string{metaCluster: "x"},
	}.withDefaults().validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"consul client", "node suffix", "workers", "timeout", "sweep interval", "node meta"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}

func TestReason(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"conflict": &conflictError{}, "stale": &txnError{}, "denied": api.StatusError{Code: 403}, "limited": api.StatusError{Code: 429},
		"refused": api.StatusError{Code: 400}, "server": api.StatusError{Code: 500}, "timeout": context.DeadlineExceeded, "other": errors.New("x"),
	} {
		if got := reason(err); got != want {
			t.Errorf("%v is %q, not %q", err, got, want)
		}
	}
}
