// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// TestRBACRules judges one request by one permission and one principal at a time.
func TestRBACRules(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	text, _ := ca.leaf(t, "spiffe://td/svc/web")
	chain, err := parseCerts([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	claims, err := structpb.NewStruct(map[string]any{"jwt": map[string]any{"iss": "me", "admin": true, "none": nil, "groups": []any{"a", "b"}}})
	if err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequest(http.MethodGet, "http://h/admin/x?q=1", nil)
	req.Header.Set("X-Role", "boss")
	s := &subject{
		conn: &downstream{
			remote: netip.MustParseAddrPort("10.1.2.3:4000"), local: netip.MustParseAddrPort("10.9.0.1:8080"), sni: "web.test",
			tls: &tls.ConnectionState{PeerCertificates: chain},
		},
		request: req, metadata: map[string]*structpb.Struct{"f": claims},
	}
	meta := func(key, value string) string {
		return `{"metadata":{"filter":"f","path":[{"key":"jwt"},{"key":"` + key + `"}],"value":` + value + `}}`
	}
	permissions := map[string]bool{
		`{"any":true}`: true, `{"any":false}`: false, `{"not_rule":{"any":true}}`: false,
		`{"and_rules":{"rules":[{"any":true},{"destination_port":8080}]}}`:                              true,
		`{"and_rules":{"rules":[{"any":true},{"destination_port":8081}]}}`:                              false,
		`{"or_rules":{"rules":[{"any":false},{"destination_port_range":{"start":1,"end":9000}}]}}`:      true,
		`{"destination_ip":{"address_prefix":"10.9.0.0","prefix_len":16}}`:                              true,
		`{"url_path":{"path":{"exact":"/admin/x"}}}`:                                                    true,
		`{"url_path":{"path":{"prefix":"/x"}}}`:                                                         false,
		`{"header":{"name":":method","string_match":{"exact":"GET"}}}`:                                  true,
		`{"header":{"name":"x-role","string_match":{"exact":"BOSS","ignore_case":true}}}`:               true,
		`{"header":{"name":"x-gone","string_match":{"exact":""}}}`:                                      false,
		`{"header":{"name":"x-gone","string_match":{"exact":""},"treat_missing_header_as_empty":true}}`: true,
		`{"header":{"name":"x-role","prefix_match":"bo"}}`:                                              true,
		`{"header":{"name":"x-role","suffix_match":"ss"}}`:                                              true,
		`{"header":{"name":"x-role","contains_match":"os"}}`:                                            true,
		`{"header":{"name":"x-role","exact_match":"boss","invert_match":true}}`:                         false,
		`{"header":{"name":"x-role","safe_regex_match":{"regex":"b.*s"}}}`:                              true,
		`{"header":{"name":":authority","string_match":{"exact":"h"}}}`:                                 true,
		`{"header":{"name":":scheme","string_match":{"exact":"http"}}}`:                                 true,
		`{"requested_server_name":{"suffix":".test"}}`:                                                  true,
		meta("iss", `{"string_match":{"exact":"me"}}`):                                                  true,
		meta("iss", `{"string_match":{"exact":"you"}}`):                                                 false,
		meta("admin", `{"bool_match":true}`):                                                            true,
		meta("none", `{"null_match":{}}`):                                                               true,
		meta("gone", `{"present_match":true}`):                                                          false,
		meta("groups", `{"list_match":{"one_of":{"string_match":{"exact":"b"}}}}`):                      true,
	}
	for text, want := range permissions {
		e, err := newRBAC(parse(t, &rbacv3.RBAC{}, `{"policies":{"p":{"permissions":[`+text+`],"principals":[{"any":true}]}}}`))
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := e.allows(s); got != want {
			t.Errorf("permission %s: %t", text, got)
		}
	}
	principals := map[string]bool{
		`{"any":true}`: true, `{"not_id":{"any":true}}`: false,
		`{"authenticated":{}}`: true,
		`{"authenticated":{"principal_name":{"exact":"spiffe://td/svc/web"}}}`:                                                                       true,
		`{"and_ids":{"ids":[{"authenticated":{}},{"not_id":{"authenticated":{"principal_name":{"safe_regex":{"regex":".*/svc/web"}}}}}]}}`:           false,
		`{"or_ids":{"ids":[{"source_ip":{"address_prefix":"1.1.1.1","prefix_len":32}},{"remote_ip":{"address_prefix":"10.0.0.0","prefix_len":8}}]}}`: true,
		`{"direct_remote_ip":{"address_prefix":"10.1.2.3","prefix_len":32}}`:                                                                         true,
		`{"header":{"name":"x-role","present_match":true}}`:                                                                                          true,
		`{"url_path":{"path":{"prefix":"/admin"}}}`:                                                                                                  true,
		meta("iss", `{"string_match":{"exact":"me"}}`):                                                                                               true,
	}
	for text, want := range principals {
		e, err := newRBAC(parse(t, &rbacv3.RBAC{}, `{"policies":{"p":{"permissions":[{"any":true}],"principals":[`+text+`]}}}`))
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := e.allows(s); got != want {
			t.Errorf("principal %s: %t", text, got)
		}
	}
	if ok, _ := (&rbacEngine{action: rbacv3.RBAC_LOG}).allows(s); !ok {
		t.Error("LOG refuses")
	}
	if ok, policy := (*rbacEngine)(nil).allows(s); !ok || policy != "none" {
		t.Error("no rules refuse")
	}
}

func TestPrincipalNames(t *testing.T) {
	t.Parallel()
	d := &downstream{}
	if got := d.principals(); got != nil {
		t.Errorf("%v", got)
	}
	d.tls = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{DNSNames: []string{"a.test"}}}}
	if got := d.principals(); len(got) != 1 || got[0] != "a.test" {
		t.Errorf("%v", got)
	}
	d.tls.PeerCertificates[0].DNSNames = nil
	d.tls.PeerCertificates[0].Subject.CommonName = "x"
	if got := d.principals(); len(got) != 1 || got[0] != "CN=x" {
		t.Errorf("%v", got)
	}
}

// TestConnectionLimit has a second connection refused while the first is open, and shadow rules counted.
func TestConnectionLimit(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	host, port, _ := strings.Cut(echo(t), ":")
	setCluster(t, e, staticCluster("c", host, port))
	setListener(t, e, withFilters(
		`{"name":"l","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit","stat_prefix":"in","max_connections":"1","delay":"0.01s"}},`+
			`{"name":"r","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC","stat_prefix":"s","shadow_rules":{"action":"ALLOW"},"shadow_rules_stat_prefix":"p."}},`+tcpFilter))
	addr := listenAddr(t, e, "l")
	first, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(first, "x")
	if _, err := io.ReadFull(first, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if got, err := say(addr, "second"); err == nil {
		t.Errorf("answered %q", got)
	}
	first.Close()
	eventually(t, "a place is free", func() bool { return stat(e, "connection_limit.in.active_connections") == 0 })
	if got, err := say(addr, "third"); got != "third" {
		t.Errorf("%q %v", got, err)
	}
	for name, want := range map[string]int64{"connection_limit.in.limited_connections": 1, "s.rbac.p.shadow_denied": 2, "s.rbac.allowed": 0} {
		if got := stat(e, name); got != want {
			t.Errorf("%s = %d, want %d", name, got, want)
		}
	}
}

// TestHTTPShadowRules counts and lets pass.
func TestHTTPShadowRules(t *testing.T) {
	t.Parallel()
	f := newFront(t, okRoute, `{"name":"r","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC","shadow_rules":{"action":"ALLOW"}}},`, "")
	if code, _, _ := get(t, client(t), f.base); code != 200 {
		t.Errorf("%d", code)
	}
	if got := stat(f.e, "http.front.rbac.shadow_denied"); got != 1 {
		t.Errorf("shadow_denied = %d", got)
	}
}

// TestServerSpeaksFirst: RBAC judges the first data of the client, so a server that speaks first is heard, as in Envoy.
func TestServerSpeaksFirst(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "banner")
			defer c.Close()
		}
	}()
	e := newEngine(t)
	host, port, _ := strings.Cut(ln.Addr().String(), ":")
	setCluster(t, e, staticCluster("c", host, port))
	setListener(t, e, withFilters(`{"name":"r","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC","stat_prefix":"s","rules":{"action":"ALLOW"}}},`+tcpFilter))
	c, err := net.Dial("tcp", listenAddr(t, e, "l"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(c, "now")
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("not closed after the client's first data")
	}
	if got := stat(e, "s.rbac.denied"); got != 1 {
		t.Errorf("denied = %d", got)
	}
}
