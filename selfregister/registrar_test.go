// SPDX-License-Identifier: MPL-2.0

package selfregister

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"podplane/integration/logtest"
)

const secret = "token-5e1b2d"

const definition = `service { name = "web" port = 8080 connect { sidecar_service {} } }`

// running is a registrar under test.
type running struct {
	*Registrar
	t        *testing.T
	log      *logtest.Buffer
	registry *prometheus.Registry
	changes  chan struct{}
	draining chan struct{}
	ready    atomic.Bool
	server   atomic.Pointer[Server]

	mu       sync.Mutex
	reported []error

	cancel context.CancelFunc
	done   chan struct{}
}

// start runs a registrar of the definition with times made for tests.
func start(t *testing.T, c *fakeCatalog, definition string, adjust ...func(*running)) *running {
	t.Helper()
	r := &running{
		t: t, log: &logtest.Buffer{}, registry: prometheus.NewRegistry(), changes: make(chan struct{}, 1), draining: make(chan struct{}), done: make(chan struct{}),
	}
	host, port := c.host()
	server := Server{Host: host, Token: secret, Epoch: 1}
	if c.server.TLS != nil {
		roots := x509.NewCertPool()
		roots.AddCert(c.server.Certificate())
		server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: "example.com"}
	}
	r.server.Store(&server)
	var err error
	r.Registrar, err = New(Config{
		Definition: mustParse(t, definition), Node: "node", Instance: "here", HTTPPort: port,
		Server: func() (Server, error) {
			if s := r.server.Load(); s != nil {
				return *s, nil
			}
			return Server{}, errors.New("no session")
		},
		Changes: r.changes, Draining: r.draining, Registerer: r.registry,
		Redact: func(s string) string { return strings.ReplaceAll(s, secret, "…") },
		Ready:  func() (bool, string) { return r.ready.Load(), "waiting for envoy" },
		Report: func(err error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.reported = append(r.reported, err)
		},
	}, hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: r.log}))
	if err != nil {
		t.Fatal(err)
	}
	r.tune = tuning{retryFirst: time.Millisecond, retryLimit: 20 * time.Millisecond, repeat: time.Hour, look: 5 * time.Millisecond, again: time.Hour, hurry: time.Hour}
	for _, f := range adjust {
		f(r)
	}
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	go func() {
		defer close(r.done)
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		r.stop()
		if t.Failed() {
			t.Log(r.log.String())
		}
		if strings.Contains(r.log.String(), secret) {
			t.Error("the token is in the log")
		}
	})
	return r
}

func (r *running) stop() {
	r.cancel()
	<-r.done
}

// report is the last one, and whether there is one.
func (r *running) report() (error, bool) { //nolint:revive // what was reported is not this function's error
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.reported) == 0 {
		return nil, false
	}
	return r.reported[len(r.reported)-1], true
}

func (r *running) mustRegister() {
	r.t.Helper()
	eventually(r.t, "a registration", func() bool { return r.Status().Registered })
}

// TestLifeOfARegistration: critical, passing, critical with the drain, gone.
func TestLifeOfARegistration(t *testing.T) {
	t.Parallel()
	for name, secure := range map[string]bool{"HTTP": false, "HTTPS": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := startCatalog(t, secure)
			r := start(t, c, definition)
			r.mustRegister()
			const check = "podplane-ready:web-sidecar-proxy"
			if got := c.ids(); !slices.Equal(got, []string{"web", "web-sidecar-proxy"}) || c.status(check) != Critical {
				t.Errorf("there is %q, %s", got, c.status(check))
			}
			r.ready.Store(true)
			eventually(t, "passing", func() bool { return c.status(check) == Passing && c.status("podplane-ready:web") == Passing })
			c.do(func() {
				proxy := c.services["web-sidecar-proxy"]
				s := proxy.Service
				if s.Kind != "connect-proxy" || s.Port != DefaultProxyPort || s.Address != "127.0.0.1" || s.Proxy.LocalServicePort != 8080 ||
					s.Meta[metaManagedBy] != managedBy || s.Meta[metaInstance] != "here" || proxy.Node != "node" || !proxy.SkipNodeUpdate {
					t.Errorf("the proxy is %+v", proxy)
				}
				if c.meta[metaSynthetic] != "true" || c.address != "127.0.0.1" {
					t.Errorf("the node is %v at %s", c.meta, c.address)
				}
				if len(c.tokens) != 1 || !c.tokens[secret] {
					t.Errorf("requests with the tokens %v", c.tokens)
				}
			})
			if st := r.Status(); st.Since.IsZero() || st.LastWriteAt.IsZero() || st.LastError != "" || len(st.Checks) != 2 {
				t.Errorf("the status is %+v", st)
			}
			if err, told := r.report(); err != nil || !told {
				t.Errorf("reported: %v, %v", err, told)
			}
			close(r.draining)
			eventually(t, "critical by the drain", func() bool { return c.status(check) == Critical })
			r.stop()
			c.do(func() {
				if len(c.services)+len(c.checks) > 0 || c.meta != nil {
					t.Errorf("left behind: %v, %v, %v", c.services, c.checks, c.meta)
				}
			})
			if r.Status().Registered {
				t.Error("the status still says registered")
			}
		})
	}
}

// TestWritesOnlyOnChange: what has not changed is not written, until the
// repetition or another server.
func TestWritesOnlyOnChange(t *testing.T) {
	t.Parallel()
	c := startCatalog(t, false)
	r := start(t, c, definition)
	r.mustRegister()
	before := c.count("register web")
	r.changes <- struct{}{}
	eventually(t, "a write at another server", func() bool { return c.count("register web") == before+1 })
	// Somebody removes it; a repetition brings it back.
	c.do(func() { clear(c.services) })
	r.changes <- struct{}{}
	eventually(t, "it back", func() bool { return len(c.ids()) == 2 })
	if n := c.count("register web"); n != before+2 {
		t.Errorf("%d writes, want %d", n, before+2)
	}
}

func TestRepetition(t *testing.T) {
	t.Parallel()
	c := startCatalog(t, false)
	r := start(t, c, definition, func(r *running) { r.tune.repeat = 10 * time.Millisecond })
	r.mustRegister()
	c.do(func() { clear(c.services) })
	eventually(t, "it back", func() bool { return len(c.ids()) == 2 })
}

// TestApplicationHealth: the proxy's check follows the worst of the service's.
func TestApplicationHealth(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := startCatalog(t, false)
	start(t, c, `service {
		name = "web"
		checks = [{ id = "one", tcp = "`+l.Addr().String()+`", interval = "1s" }, { id = "two", tcp = "`+c.server.Listener.Addr().String()+`", interval = "1s" }]
		connect { sidecar_service {} }
	}`)
	const app = "podplane-app:web-sidecar-proxy"
	eventually(t, "passing", func() bool {
		return c.status("one") == Passing && c.status("two") == Passing && c.status(app) == Passing
	})
	_ = l.Close()
	eventually(t, "critical", func() bool { return c.status("one") == Critical && c.status(app) == Critical })
	c.do(func() {
		if out := c.checks[app].Output; !strings.Contains(out, "one: ") {
			t.Errorf("the output is %q", out)
		}
	})
}

// TestLeftovers: what has our mark and is not wanted goes; nothing else does.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	c := startCatalog(t, false)
	ours, theirs := map[string]string{metaManagedBy: managedBy, metaInstance: "here"}, map[string]string{metaManagedBy: managedBy, metaInstance: "there"}
	put := func(id string, meta map[string]string) {
		c.services[id] = registration{Service: instance{ID: id, Service: id, Meta: meta}}
	}
	c.do(func() {
		c.meta = map[string]string{}
		put("old", ours)
		put("old-sidecar-proxy", ours)
		put("other", theirs)
		put("by-hand", nil)
		put("web", theirs)
		c.checks["gone"] = catalogCheck{CheckID: "gone", ServiceID: "web", Type: checkType}
		c.checks["foreign"] = catalogCheck{CheckID: "foreign", ServiceID: "web", Type: "esm"}
		c.checks["of-other"] = catalogCheck{CheckID: "of-other", ServiceID: "other", Type: checkType}
	})
	r := start(t, c, definition)
	r.mustRegister()
	if got, want := c.ids(), []string{"by-hand", "other", "web", "web-sidecar-proxy"}; !slices.Equal(got, want) {
		t.Errorf("there is %q, want %q", got, want)
	}
	c.do(func() {
		_, gone := c.checks["gone"]
		_, foreign := c.checks["foreign"]
		_, ofOther := c.checks["of-other"]
		if gone || !foreign || !ofOther {
			t.Errorf("checks: %v", c.checks)
		}
	})
	if !strings.Contains(r.log.String(), "taking over a registration") {
		t.Error("the takeover is not said")
	}
	if n := testutil.ToFloat64(r.metrics.leftovers); n != 2 {
		t.Errorf("%v leftovers counted", n)
	}
	r.stop()
	c.do(func() {
		if c.meta == nil {
			t.Error("a node that is not ours was removed")
		}
	})
}

// TestNodeFollowsAddress: a node that podplane has made, and no other.
func TestNodeFollowsAddress(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		meta map[string]string
		want string
	}{
		"ours":   {map[string]string{metaManagedBy: managedBy}, "127.0.0.1"},
		"theirs": {map[string]string{}, "192.0.2.1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := startCatalog(t, false)
			c.do(func() { c.meta, c.address = tc.meta, "192.0.2.1" })
			start(t, c, definition).mustRegister()
			c.do(func() {
				if c.address != tc.want {
					t.Errorf("the node is at %s", c.address)
				}
			})
		})
	}
}

// TestAgentsNode: an agent would remove what is registered there.
func TestAgentsNode(t *testing.T) {
	t.Parallel()
	c := startCatalog(t, false)
	c.do(func() { c.meta = map[string]string{"consul-version": "1.22.7"} })
	r := start(t, c, definition)
	eventually(t, "a report", func() bool {
		err, told := r.report()
		return told && errors.Is(err, errAgentsNode) && strings.Contains(err.Error(), "-proxy-node-name")
	})
	r.stop()
	if got := c.ids(); len(got) > 0 || c.count("deregister web") > 0 {
		t.Errorf("there is %q", got)
	}
}

// TestRefusal: the server's words, what the token needs, and no end to it.
func TestRefusal(t *testing.T) {
	t.Parallel()
	c := startCatalog(t, false)
	refuse := func(what string) (int, string) {
		if strings.HasPrefix(what, "register") {
			return http.StatusForbidden, "Permission denied: token " + secret + " lacks permission"
		}
		return 0, ""
	}
	c.do(func() { c.decide = refuse })
	r := start(t, c, definition)
	eventually(t, "a report", func() bool {
		err, told := r.report()
		return told && err != nil && strings.Contains(err.Error(), `service:write for "web"`) && strings.Contains(err.Error(), "Permission denied") &&
			!strings.Contains(err.Error(), secret)
	})
	c.do(func() { c.decide = nil })
	r.mustRegister()
	// Refused again, later: the report says so, and the rest goes on.
	c.do(func() { c.decide = refuse })
	r.changes <- struct{}{}
	eventually(t, "a later report", func() bool { err, _ := r.report(); return err != nil && !r.Status().Registered })
	if n := testutil.ToFloat64(r.metrics.writes.WithLabelValues("refused")); n < 2 {
		t.Errorf("%v refusals counted", n)
	}
	// At the end, too: no waiting for what will not come.
	c.do(func() { c.decide = func(string) (int, string) { return http.StatusForbidden, "no" } })
	r.stop()
	if !strings.Contains(r.log.String(), "cannot deregister") {
		t.Error("that something is left is not said")
	}
}

// TestServersAway: at the start and later. What is registered stays reported as
// such, and the end is bounded.
func TestServersAway(t *testing.T) {
	t.Parallel()
	c := startCatalog(t, false)
	r := start(t, c, definition, func(r *running) { r.server.Store(nil) })
	eventually(t, "a report", func() bool {
		err, told := r.report()
		return told && err != nil && strings.Contains(err.Error(), "no session")
	})
	host, _ := c.host()
	r.server.Store(&Server{Host: host, Token: secret})
	r.changes <- struct{}{}
	r.mustRegister()
	c.do(func() {
		c.decide = func(string) (int, string) { return http.StatusInternalServerError, "No cluster leader" }
	})
	r.changes <- struct{}{}
	eventually(t, "an error", func() bool { return strings.Contains(r.Status().LastError, "No cluster leader") })
	if err, _ := r.report(); err != nil || !r.Status().Registered {
		t.Errorf("a server without a leader is reported as %v", err)
	}
	begun := time.Now()
	r.stop()
	if took := time.Since(begun); took < EndTimeout-time.Second || took > EndTimeout+patience/2 {
		t.Errorf("the end took %s", took)
	}
}

// TestNothingToRemove: an end without a registration does not wait.
func TestNothingToRemove(t *testing.T) {
	t.Parallel()
	c := startCatalog(t, false)
	r := start(t, c, definition)
	r.mustRegister()
	other := start(t, c, definition, func(r *running) { r.server.Store(nil) })
	other.stop()
	if got := c.ids(); len(got) != 2 {
		t.Errorf("there is %q", got)
	}
	c.server.Close() // refused by now
	late := start(t, c, definition)
	eventually(t, "an error", func() bool { return strings.Contains(late.Status().LastError, "refused") })
	late.stop()
	if strings.Contains(late.log.String(), "cannot deregister") {
		t.Error("an end that was tried in vain")
	}
}

// TestTakenOver: who ends later than another machine began in its place leaves
// that one's registration alone.
func TestTakenOver(t *testing.T) {
	t.Parallel()
	c := startCatalog(t, false)
	r := start(t, c, definition)
	r.mustRegister()
	c.do(func() {
		for _, s := range c.services {
			s.Service.Meta[metaInstance] = "there"
		}
	})
	r.stop()
	if got, want := c.ids(), []string{"web", "web-sidecar-proxy"}; !slices.Equal(got, want) {
		t.Errorf("there is %q, want %q", got, want)
	}
	if !strings.Contains(r.log.String(), "another podplane has taken over") {
		t.Error("that it stays is not said")
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	c := startCatalog(t, false)
	r := start(t, c, definition)
	r.mustRegister()
	want := `
		# HELP podplane_registration_check_status Health checks of the registered service and its proxy: 0 passing, 1 warning, 2 critical.
		# TYPE podplane_registration_check_status gauge
		podplane_registration_check_status{check="podplane-ready:web",service_id="web"} 2
		podplane_registration_check_status{check="podplane-ready:web-sidecar-proxy",service_id="web-sidecar-proxy"} 2
	`
	if err := testutil.GatherAndCompare(r.registry, strings.NewReader(want), "podplane_registration_check_status"); err != nil {
		t.Error(err)
	}
	if testutil.ToFloat64(r.metrics.last) == 0 || testutil.ToFloat64(r.metrics.writes.WithLabelValues("success")) < 1 {
		t.Error("the success is not counted")
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	good := Config{
		Definition: mustParse(t, definition), Node: "n", Instance: "i",
		Server: func() (Server, error) { return Server{}, nil }, Ready: func() (bool, string) { return true, "" },
	}
	for name, break1 := range map[string]func(*Config){
		"definition": func(c *Config) { c.Definition = nil }, "node name": func(c *Config) { c.Node = "" },
		"instance": func(c *Config) { c.Instance = "" }, "servers": func(c *Config) { c.Server = nil }, "readiness": func(c *Config) { c.Ready = nil },
	} {
		c := good
		break1(&c)
		if _, err := New(c, nil); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good.Registerer = prometheus.NewRegistry()
	for i, want := range []string{"", "metrics"} {
		if _, err := New(good, nil); (err == nil) != (i == 0) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// TestEnterprise: namespace and partition are in the query, the bodies and the
// checks.
func TestEnterprise(t *testing.T) {
	t.Parallel()
	c := &catalog{namespace: "ns", partition: "part"}
	if got := c.query(); got != "?ns=ns&partition=part" {
		t.Error(got)
	}
	r := &Registrar{cfg: Config{Definition: mustParse(t, definition), Node: "n", Namespace: "ns", Partition: "part"}}
	r.board = newBoard(r.cfg.Definition)
	for _, reg := range r.registrations("10.0.0.1", false) {
		if reg.Partition != "part" || reg.Service.Namespace != "ns" || reg.Service.Partition != "part" || reg.Checks[0].Namespace != "ns" || reg.SkipNodeUpdate {
			t.Errorf("got %+v", reg)
		}
	}
}

func TestPlain(t *testing.T) {
	t.Parallel()
	secure := Server{Host: "::1", TLS: &tls.Config{MinVersion: tls.VersionTLS12}}
	for want, tc := range map[string]struct {
		catalog *catalog
		server  Server
	}{
		"https://[::1]:8501": {&catalog{}, secure},
		"http://[::1]:8500":  {&catalog{plain: true}, secure},
		"https://[::1]:1":    {&catalog{port: 1}, secure},
		"http://a:8500":      {&catalog{}, Server{Host: "a"}},
	} {
		if got := tc.catalog.base(&tc.server); got != want || strings.HasPrefix(want, "https") != (tc.server.TLS != nil) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
