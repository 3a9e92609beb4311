// SPDX-License-Identifier: MPL-2.0

package registrar

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/consul/api"

	"podplane/integration/logtest"
)

// logs is the log of a test.
type logs struct{ logtest.Buffer }

func (l *logs) count(text string) int { return strings.Count(l.String(), text) }

// fakeConsul keeps a catalog as Consul's API does, as far as the registrar uses it. That the real one does likewise is
// shown in integration.
type fakeConsul struct {
	client *api.Client

	mu        sync.Mutex
	index     uint64
	nodes     map[string]*api.Node
	instances map[place]*stored
	tokens    map[string]*api.ACLTokenListEntry
	spaces    map[string]bool
	writes    int
	requests  []string // method, path, query and body
	// fail decides on each request before and after it is carried out: a status, or 0.
	fail func(r *http.Request, done bool) int
}

type stored struct {
	place
	service *api.AgentService
	check   *api.AgentCheck
	status  string
}

func newFakeConsul(t *testing.T) *fakeConsul {
	t.Helper()
	f := &fakeConsul{
		nodes: map[string]*api.Node{}, instances: map[place]*stored{}, tokens: map[string]*api.ACLTokenListEntry{}, spaces: map[string]bool{},
	}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	f.client = apiClient(t, server.URL)
	return f
}

func (f *fakeConsul) all() []*stored {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Values(f.instances))
}

// wrote counts the writes since the last call.
func (f *fakeConsul) wrote() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.writes
	f.writes = 0
	return n
}

func (f *fakeConsul) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, fmt.Sprintf("%s %s %s", r.Method, r.URL.RequestURI(), body))
	if f.fail != nil {
		if status := f.fail(r, false); status != 0 {
			http.Error(w, "it is asked for", status)
			return
		}
	}
	answer, status := f.answer(r, body)
	if f.fail != nil {
		if status := f.fail(r, true); status != 0 {
			http.Error(w, "it is asked for, but it was done", status)
			return
		}
	}
	data, _ := json.Marshal(answer)
	w.WriteHeader(status)
	_, _ = w.Write(data)
}

func (f *fakeConsul) answer(r *http.Request, body []byte) (any, int) {
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	last := path[strings.LastIndex(path, "/")+1:]
	switch {
	case path == "catalog/register":
		return f.register(body), http.StatusOK
	case path == "txn":
		return f.txn(body)
	case path == "catalog/nodes":
		var out []*api.Node
		for _, n := range f.nodes {
			if n.Meta[metaSynthetic] == "true" {
				out = append(out, n)
			}
		}
		return out, http.StatusOK
	case strings.HasPrefix(path, "catalog/node-services/"):
		return f.nodeServices(last), http.StatusOK
	case strings.HasPrefix(path, "health/node/"):
		return f.checks(last, tenancy(r.URL.Query().Get("ns"))), http.StatusOK
	case path == "acl/tokens":
		return slices.Collect(maps.Values(f.tokens)), http.StatusOK
	case strings.HasPrefix(path, "acl/token/") && r.Method == http.MethodDelete:
		f.writes++
		if f.tokens[last] == nil {
			return "Cannot find token to delete", http.StatusNotFound
		}
		delete(f.tokens, last)
		return true, http.StatusOK
	case path == "namespace":
		var n api.Namespace
		_ = json.Unmarshal(body, &n)
		f.spaces[n.Name] = true
		return n, http.StatusOK
	case strings.HasPrefix(path, "namespace/"):
		if !f.spaces[last] {
			return nil, http.StatusNotFound
		}
		return api.Namespace{Name: last}, http.StatusOK
	default:
		return "no such path", http.StatusNotFound
	}
}

func (f *fakeConsul) register(body []byte) bool {
	var in api.CatalogRegistration
	if err := json.Unmarshal(body, &in); err != nil {
		panic(err)
	}
	f.writes++
	f.index++
	n := f.nodes[in.Node]
	if n == nil || !in.SkipNodeUpdate {
		f.nodes[in.Node] = &api.Node{Node: in.Node, Address: in.Address, Meta: in.NodeMeta, ModifyIndex: f.index}
	}
	in.Service.ModifyIndex = f.index
	if in.Service.Kind == api.ServiceKindConnectProxy {
		in.Service.TaggedAddresses = map[string]api.ServiceAddress{"consul-virtual": {Address: "240.0.0.1", Port: in.Service.Port}}
	}
	p := place{node: in.Node, namespace: tenancy(in.Service.Namespace), id: in.Service.ID}
	f.instances[p] = &stored{place: p, service: in.Service, check: in.Check, status: in.Check.Status}
	return true
}

func (f *fakeConsul) txn(body []byte) (any, int) {
	var ops api.TxnOps
	if err := json.Unmarshal(body, &ops); err != nil {
		panic(err)
	}
	f.writes++
	var failed api.TxnErrors
	var do []func()
	for i, op := range ops {
		bad := func(what string) { failed = append(failed, &api.TxnError{OpIndex: i, What: what}) }
		switch {
		case op.Service != nil:
			p := place{node: op.Service.Node, namespace: tenancy(op.Service.Service.Namespace), id: op.Service.Service.ID}
			if s := f.instances[p]; s == nil || s.service.ModifyIndex != op.Service.Service.ModifyIndex {
				bad("index is stale")
			}
			do = append(do, func() { delete(f.instances, p) })
		case op.Node != nil:
			name := op.Node.Node.Node
			if n := f.nodes[name]; n == nil || n.ModifyIndex != op.Node.Node.ModifyIndex {
				bad("index is stale")
			}
			do = append(do, func() {
				delete(f.nodes, name)
				maps.DeleteFunc(f.instances, func(p place, _ *stored) bool { return p.node == name })
			})
		case op.Check != nil:
			c := op.Check.Check
			s := f.instances[place{node: c.Node, namespace: tenancy(c.Namespace), id: c.ServiceID}]
			if s == nil {
				bad("Missing service registration")
				continue
			}
			do = append(do, func() { s.status = c.Status })
		}
	}
	if len(failed) > 0 {
		return api.TxnResponse{Errors: failed}, http.StatusConflict
	}
	for _, d := range do {
		d()
	}
	return api.TxnResponse{}, http.StatusOK
}

func (f *fakeConsul) nodeServices(name string) any {
	n := f.nodes[name]
	if n == nil {
		return nil
	}
	list := api.CatalogNodeServiceList{Node: n}
	for p, s := range f.instances {
		if p.node == name {
			list.Services = append(list.Services, s.service)
		}
	}
	return list
}

func (f *fakeConsul) checks(name, namespace string) api.HealthChecks {
	out := api.HealthChecks{}
	for p, s := range f.instances {
		if p.node == name && p.namespace == namespace {
			out = append(out, &api.HealthCheck{
				Node: name, CheckID: s.check.CheckID, Name: s.check.Name, Type: s.check.Type, Status: s.status, ServiceID: p.id,
			})
		}
	}
	return out
}
