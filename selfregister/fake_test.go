// SPDX-License-Identifier: MPL-2.0

package selfregister

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// fakeCatalog is the catalog of a Consul server, as far as this package asks: one
// node. That a real server behaves so is what the integration tests are for.
type fakeCatalog struct {
	t      *testing.T
	server *httptest.Server

	mu       sync.Mutex
	address  string
	meta     map[string]string // nil: there is no node
	services map[string]registration
	checks   map[string]catalogCheck
	asked    []string
	taken    []registration // in order
	tokens   map[string]bool
	// decide, if set, may refuse a request: 0 lets it pass.
	decide func(what string) (code int, words string)
	// hang, if set, may hold up a request until what it gives is closed: nil lets it pass.
	hang func(what string) <-chan struct{}
}

// startCatalog serves a catalog over HTTP, or HTTPS.
func startCatalog(t *testing.T, secure bool) *fakeCatalog {
	t.Helper()
	c := &fakeCatalog{t: t, services: map[string]registration{}, checks: map[string]catalogCheck{}, tokens: map[string]bool{}}
	c.server = httptest.NewUnstartedServer(c)
	if secure {
		c.server.StartTLS()
	} else {
		c.server.Start()
	}
	t.Cleanup(c.server.Close)
	return c
}

func (c *fakeCatalog) host() (string, int) {
	host, port, _ := net.SplitHostPort(c.server.Listener.Addr().String())
	n, _ := strconv.Atoi(port)
	return host, n
}

func (c *fakeCatalog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var (
		reg registration
		del deregistration
	)
	what := r.URL.Path
	switch r.URL.Path {
	case "/v1/catalog/register":
		if err := json.Unmarshal(body, &reg); err != nil {
			c.t.Error(err)
		}
		what = "register " + reg.Service.ID
	case "/v1/catalog/deregister":
		if err := json.Unmarshal(body, &del); err != nil {
			c.t.Error(err)
		}
		what = strings.TrimSpace("deregister " + del.ServiceID + del.CheckID)
	}
	c.holdUp(what)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tokens[r.Header.Get("X-Consul-Token")] = true
	if c.decide != nil {
		if code, words := c.decide(what); code != 0 {
			http.Error(w, words, code)
			return
		}
	}
	switch {
	case reg.Service.ID != "":
		c.take(reg)
	case del.Node != "":
		c.drop(del)
	default:
		c.show(w, r.URL.Path)
		return
	}
	_, _ = io.WriteString(w, "true")
}

// holdUp notes what is asked and waits as hang says, without the lock.
func (c *fakeCatalog) holdUp(what string) {
	var wait <-chan struct{}
	c.do(func() {
		c.asked = append(c.asked, what)
		if c.hang != nil {
			wait = c.hang(what)
		}
	})
	if wait != nil {
		<-wait
	}
}

func (c *fakeCatalog) take(r registration) {
	if c.meta == nil || !r.SkipNodeUpdate {
		c.address, c.meta = r.Address, r.NodeMeta
	}
	c.services[r.Service.ID] = r
	c.taken = append(c.taken, r)
	for _, check := range r.Checks {
		c.checks[check.CheckID] = check
	}
}

func (c *fakeCatalog) drop(d deregistration) {
	switch {
	case d.ServiceID != "":
		delete(c.services, d.ServiceID)
		for id, check := range c.checks {
			if check.ServiceID == d.ServiceID {
				delete(c.checks, id)
			}
		}
	case d.CheckID != "":
		delete(c.checks, d.CheckID)
	default:
		c.meta = nil
		clear(c.services)
		clear(c.checks)
	}
}

func (c *fakeCatalog) show(w http.ResponseWriter, path string) {
	if strings.HasPrefix(path, "/v1/health/node/") {
		all := []catalogCheck{}
		for _, check := range c.checks {
			all = append(all, check)
		}
		_ = json.NewEncoder(w).Encode(all)
		return
	}
	if c.meta == nil {
		_, _ = io.WriteString(w, "null")
		return
	}
	services := []instance{}
	for _, r := range c.services {
		services = append(services, r.Service)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{
		"Node": map[string]any{"Address": c.address, "Meta": c.meta}, "Services": services,
	})
}

// do changes the catalog, or looks at it.
func (c *fakeCatalog) do(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

// ids lists the services.
func (c *fakeCatalog) ids() (all []string) {
	c.do(func() {
		for id := range c.services {
			all = append(all, id)
		}
	})
	slices.Sort(all)
	return all
}

// status is that of a check, "" if it is not there.
func (c *fakeCatalog) status(id string) (status string) {
	c.do(func() { status = c.checks[id].Status })
	return status
}

func (c *fakeCatalog) count(what string) (n int) {
	c.do(func() {
		for _, a := range c.asked {
			if a == what {
				n++
			}
		}
	})
	return n
}
