// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"strings"
	"testing"
)

func TestMeshTCP(t *testing.T) {
	t.Parallel()
	m := newMesh(t, &mesh{protocol: "tcp", backend: echo(t)})
	if got, err := say(m.entrance(t), "hello"); got != "hello" || err != nil {
		t.Fatalf("got %q, %v", got, err)
	}
	for name, want := range map[string]int64{
		"cluster.api.consul.ssl.handshake": 1, "cluster.api.consul.upstream_cx_total": 1, "tcp.upstream.api.downstream_cx_total": 1,
	} {
		if got := stat(m.web, name); got != want {
			t.Errorf("%s = %d, want %d", name, got, want)
		}
	}
	if got := stat(m.api, "connect_authz.rbac.allowed"); got != 1 {
		t.Errorf("rbac.allowed = %d", got)
	}
	eventually(t, "connections end", func() bool {
		return m.web.ActiveConnections() == 0 && m.api.ActiveConnections() == 0 &&
			stat(m.web, "cluster.api.consul.upstream_cx_active") == 0
	})
	if got := stat(m.api, "listener.127.0.0.1_0.downstream_cx_active"); got != 0 {
		t.Errorf("downstream_cx_active = %d", got)
	}
}

func TestMeshTCPIntentionChanges(t *testing.T) {
	t.Parallel()
	m := newMesh(t, &mesh{protocol: "tcp", backend: echo(t)})
	for _, step := range []struct {
		rules string
		ok    bool
	}{{denyNone, true}, {denyWeb, false}, {denyNone, true}, {`{"action":"ALLOW"}`, false}, {allowAll, true}} {
		m.setIntentions(t, step.rules)
		got, err := say(m.entrance(t), "hello")
		if (err == nil && got == "hello") != step.ok {
			t.Errorf("with %s: %q, %v", step.rules, got, err)
		}
	}
	if got := stat(m.api, "connect_authz.rbac.denied"); got != 2 {
		t.Errorf("rbac.denied = %d, want 2", got)
	}
}

func TestMeshRefusals(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		mesh    mesh
		counter string
		web     bool // whose counter
	}{
		"wrong identity":     {mesh{apiID: trustDomain + "other"}, "cluster.api.consul.ssl.fail_verify_san", true},
		"client without one": {mesh{noCert: true}, "listener.127.0.0.1_0.ssl.fail_verify_no_cert", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.mesh.protocol, test.mesh.backend = "tcp", echo(t)
			m := newMesh(t, &test.mesh)
			if got, err := say(m.entrance(t), "hello"); err == nil {
				t.Errorf("answered %q", got)
			}
			e := m.api
			if test.web {
				e = m.web
			}
			eventually(t, test.counter, func() bool { return stat(e, test.counter) == 1 })
			if got := stat(m.web, "cluster.api.consul.upstream_cx_connect_fail"); got != 1 {
				t.Errorf("upstream_cx_connect_fail = %d", got)
			}
		})
	}
}

// TestMeshWrongCA has api trust an authority other than web's.
func TestMeshWrongCA(t *testing.T) {
	t.Parallel()
	m := newMesh(t, &mesh{protocol: "tcp", backend: echo(t)})
	right := m.ca
	m.ca = newAuthority(t)
	setListener(t, m.api, m.publicListener(t))
	m.ca = right
	if got, err := say(m.entrance(t), "hello"); err == nil {
		t.Errorf("answered %q", got)
	}
	if got := stat(m.web, "cluster.api.consul.ssl.fail_verify_error"); got != 1 {
		t.Errorf("fail_verify_error = %d", got)
	}
}

func TestMeshHTTP(t *testing.T) {
	t.Parallel()
	backend, last := httpBackend(t)
	m := newMesh(t, &mesh{protocol: "http", backend: backend, rbac: denyAdmin})
	c, base := client(t), "http://"+m.entrance(t)
	code, body, header := get(t, c, base+"/a?x=1")
	if code != 200 || body != "GET /a?x=1 " {
		t.Fatalf("%d %q", code, body)
	}
	for name, want := range map[string]string{"Server": "envoy"} {
		if got := header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if header.Get("X-Envoy-Upstream-Service-Time") == "" || header.Get("Date") == "" {
		t.Errorf("headers: %v", header)
	}
	xfcc := last.Header.Get("X-Forwarded-Client-Cert")
	for _, part := range []string{"By=" + trustDomain + "api", ";Hash=", ";Cert=\"-----BEGIN%20CERTIFICATE", ";Chain=", `;Subject="CN=leaf"`, ";URI=" + trustDomain + "web", ";DNS=leaf.test"} {
		if !strings.Contains(xfcc, part) {
			t.Errorf("x-forwarded-client-cert lacks %q: %s", part, xfcc)
		}
	}
	for name, want := range map[string]string{"X-Forwarded-Proto": "http", "X-Envoy-Expected-Rq-Timeout-Ms": "15000"} {
		if got := last.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if len(last.Header.Get("X-Request-Id")) != 36 {
		t.Errorf("x-request-id: %q", last.Header.Get("X-Request-Id"))
	}
	code, body, _ = get(t, c, base+"/x/../admin/users")
	if code != 403 || body != "RBAC: access denied" {
		t.Errorf("/admin: %d %q", code, body)
	}
	if a, d := stat(m.api, "http.public_listener.rbac.allowed"), stat(m.api, "http.public_listener.rbac.denied"); a != 1 || d != 1 {
		t.Errorf("rbac allowed %d, denied %d", a, d)
	}
	for name, want := range map[string]int64{
		"http.public_listener.downstream_rq_2xx": 1, "http.public_listener.downstream_rq_4xx": 1,
		"http.public_listener.downstream_cx_http1_total": 1, "cluster.local_app.upstream_rq_200": 1,
	} {
		if got := stat(m.api, name); got != want {
			t.Errorf("%s = %d, want %d", name, got, want)
		}
	}
	eventually(t, "no request active", func() bool {
		return stat(m.api, "http.public_listener.downstream_rq_active") == 0 && stat(m.web, "cluster.api.consul.upstream_rq_active") == 0
	})
}
