// SPDX-License-Identifier: MPL-2.0

package consulacl

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// consul keeps ACL objects as Consul's API does: by name, or by an ID that it
// gives. What it means by them is tested against the real one.
type consul struct {
	mu      sync.Mutex
	objects map[string]map[string]any // by kind and name
	writes  []string
	queries []string
	fail    string // the path of requests that are refused
}

func newConsul(t *testing.T) (*consul, *api.Client) {
	t.Helper()
	c := &consul{objects: map[string]map[string]any{}}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	client, err := api.NewClient(&api.Config{Address: server.URL, HttpClient: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	return c, client
}

func (c *consul) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/v1/acl/")
	c.queries = append(c.queries, r.URL.RawQuery)
	if c.fail != "" && strings.HasPrefix(path, c.fail) {
		http.Error(w, "Permission denied", http.StatusForbidden)
		return
	}
	kind, name, _ := strings.Cut(strings.Replace(path, "/name/", "/", 1), "/")
	switch {
	case r.Method == http.MethodPut:
		var in map[string]any
		_ = json.NewDecoder(r.Body).Decode(&in)
		c.put(kind, name, in)
		_ = json.NewEncoder(w).Encode(in)
	case kind == "binding-rules":
		list := []any{}
		for _, key := range slices.Sorted(keys(c.objects)) {
			if strings.HasPrefix(key, "binding-rule/") {
				list = append(list, c.objects[key])
			}
		}
		_ = json.NewEncoder(w).Encode(list)
	default:
		found, ok := c.objects[kind+"/"+name]
		if !ok {
			http.Error(w, "not found", http.StatusNotFound)
			return
		}
		_ = json.NewEncoder(w).Encode(found)
	}
}

func keys(m map[string]map[string]any) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func (c *consul) put(kind, id string, in map[string]any) {
	c.writes = append(c.writes, kind)
	if name, ok := in["Name"].(string); ok {
		in["ID"] = name
		c.objects[kind+"/"+name] = in
		return
	}
	if id == "" {
		id = fmt.Sprint(len(c.objects))
	}
	in["ID"] = id
	c.objects[kind+"/"+id] = in
}

func asked(client *api.Client) Config {
	return Config{
		Consul: client, AuthMethod: "podplane", Policy: "injector", Role: "injector",
		Namespace: "podplane-system", ServiceAccount: "podplane-injector", Selector: "serviceaccount.name!=default",
		MaxTokenTTL: time.Hour, KubernetesHost: "https://k", KubernetesCA: "CA", ReviewerToken: "jwt", TokenCleanup: true,
	}
}

func TestSecondRunChangesNothing(t *testing.T) {
	t.Parallel()
	c, client := newConsul(t)
	steps, err := Bootstrap(t.Context(), asked(client))
	if err != nil || len(steps) != 5 || len(c.writes) != 5 {
		t.Fatalf("%v, %v, wrote %v", steps, err, c.writes)
	}
	for _, s := range steps {
		if !s.Created || !strings.HasSuffix(s.String(), ": created") {
			t.Errorf("%s", s)
		}
	}
	steps, err = Bootstrap(t.Context(), asked(client))
	if err != nil || len(c.writes) != 5 {
		t.Errorf("wrote again: %v, %v", c.writes, err)
	}
	for _, s := range steps {
		if !strings.HasSuffix(s.String(), ": unchanged") {
			t.Errorf("%s", s)
		}
	}
}

// TestDriftIsRepaired changes one thing at a time.
func TestDriftIsRepaired(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		drift func(map[string]map[string]any)
		says  string
	}{
		"rules":       {func(o map[string]map[string]any) { o["policy/injector"]["Rules"] = "" }, "policy injector: repaired rules"},
		"datacenters": {func(o map[string]map[string]any) { o["policy/injector"]["Datacenters"] = []string{"dc2"} }, "policy injector: repaired datacenters"},
		"policies":    {func(o map[string]map[string]any) { o["role/injector"]["Policies"] = nil }, "role injector: repaired policies"},
		"more rights": {func(o map[string]map[string]any) {
			o["role/injector"]["ServiceIdentities"] = []map[string]string{{"ServiceName": "web"}}
		}, "role injector: repaired service identities"},
		"host": {func(o map[string]map[string]any) {
			o["auth-method/podplane"]["Config"].(map[string]any)["Host"] = "https://other"
		}, "auth method podplane: repaired Host"},
		"ttl": {func(o map[string]map[string]any) { o["auth-method/podplane"]["MaxTokenTTL"] = "2h" }, "auth method podplane: repaired max token TTL"},
		"selector": {func(o map[string]map[string]any) {
			for _, rule := range o {
				if rule["Description"] == rulePods {
					rule["Selector"] = ""
				}
			}
		}, `binding rule "podplane: a service account is the service of its name": repaired selector`},
		"nothing, but a newline": {func(o map[string]map[string]any) {
			o["auth-method/podplane"]["Config"].(map[string]any)["CACert"] = "CA"
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, client := newConsul(t)
			if _, err := Bootstrap(t.Context(), asked(client)); err != nil {
				t.Fatal(err)
			}
			tc.drift(c.objects)
			steps, err := Bootstrap(t.Context(), asked(client))
			if err != nil {
				t.Fatal(err)
			}
			var said []string
			for _, s := range steps {
				if len(s.Changed) > 0 {
					said = append(said, s.String())
				}
			}
			if got := strings.Join(said, "; "); got != tc.says {
				t.Errorf("got %q", got)
			}
			if steps, _ = Bootstrap(t.Context(), asked(client)); slices.ContainsFunc(steps, func(s Step) bool { return s.Changed != nil }) {
				t.Errorf("not repaired: %v", steps)
			}
		})
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	for path, says := range map[string]string{
		"policy": "bootstrap acls: policy injector", "role": "bootstrap acls: role injector",
		"auth-method": "bootstrap acls: auth method podplane", "binding-rules": "bootstrap acls: binding rules of podplane",
		"binding-rule": "bootstrap acls: binding rules",
	} {
		c, client := newConsul(t)
		c.fail = path
		steps, err := Bootstrap(t.Context(), asked(client))
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "jwt") || len(steps) > 4 {
			t.Errorf("%s: %v, %v", path, steps, err)
		}
	}
	c, client := newConsul(t)
	c.objects["auth-method/podplane"] = map[string]any{"Name": "podplane", "Type": "jwt"}
	if _, err := Bootstrap(t.Context(), asked(client)); err == nil || !strings.Contains(err.Error(), "exists with type jwt") {
		t.Error(err)
	}
	if _, err := Bootstrap(t.Context(), Config{}); err == nil {
		t.Error("no client is no error")
	}
}

// TestOwnAccountIsNoService: what podplane-injector may do as a role, it must not
// be able to do as a service besides. Without a selector, neither is the account
// that pods have who ask for none.
func TestOwnAccountIsNoService(t *testing.T) {
	t.Parallel()
	c, client := newConsul(t)
	cfg := asked(client)
	cfg.Selector = ""
	if _, err := Bootstrap(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	own := `serviceaccount.namespace=="podplane-system" and serviceaccount.name=="podplane-injector"`
	var selectors []string
	for key, o := range c.objects {
		if strings.HasPrefix(key, "binding-rule/") {
			selectors = append(selectors, o["BindType"].(string)+" "+o["Selector"].(string))
		}
	}
	slices.Sort(selectors)
	if want := []string{"role " + own, "service (serviceaccount.name!=default) and not (" + own + ")"}; !slices.Equal(selectors, want) {
		t.Errorf("selectors %q", selectors)
	}
}

// TestTenancy passes namespace and partition with each request (Consul Enterprise).
func TestTenancy(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		tenancy   Tenancy
		namespace string
		maps      bool
	}{
		"one":    {Tenancy{Namespaces: true, Namespace: "apps", Partition: "p1"}, "apps", false},
		"mirror": {Tenancy{Namespaces: true, Namespace: "apps", Mirror: true, Prefix: "k8s-", Partition: "p1"}, "default", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, client := newConsul(t)
			cfg := asked(client)
			cfg.Tenancy = tc.tenancy
			if _, err := Bootstrap(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			for _, q := range c.queries {
				if !strings.Contains(q, "ns="+tc.namespace) || !strings.Contains(q, "partition=p1") {
					t.Errorf("query %s", q)
				}
			}
			config := c.objects["auth-method/podplane"]["Config"].(map[string]any)
			if got := config["MapNamespaces"] == true && config["ConsulNamespacePrefix"] == "k8s-"; got != tc.maps {
				t.Errorf("config %v", config)
			}
		})
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]Config{
		"plain":      {},
		"cleanup":    {TokenCleanup: true},
		"namespaces": {TokenCleanup: true, Tenancy: Tenancy{Namespaces: true}},
		"partition":  {Tenancy: Tenancy{Namespaces: true, Partition: "p1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join("testdata", name+".hcl")
			got := rules(cfg)
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil || string(want) != got {
				t.Errorf("%v, got:\n%s", err, got)
			}
		})
	}
}
