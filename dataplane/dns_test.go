// SPDX-License-Identifier: MPL-2.0

package dataplane

import (
	"net"
	"net/http"
	"testing"
)

// TestDNSProxyMode: no Envoy and no proxy ID, but readiness, metrics, DNS, and an
// end by signal.
func TestDNSProxyMode(t *testing.T) {
	t.Parallel()
	c := (&fakeConsul{}).start(t)
	s := start(t, c, "-mode=dns-proxy", "-consul-dns-bind-port=0")
	s.mustBeReady(t)
	if s.supervisor != nil || s.xds != nil {
		t.Error("a DNS proxy has an Envoy")
	}
	conn, err := net.Dial("tcp", s.dns.TCPAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	_, text := request(t, http.MethodGet, "http://"+s.metrics.Addr().String()+"/stats/prometheus")
	mention(t, text, "podplane_dns_", "podplane_build_info")
	for path, want := range map[string]int{"/live": 200, "/status": 200, "/graceful_startup": 200} {
		if code, body := s.do(t, http.MethodGet, path); code != want {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	s.terminate()
	if err := s.endPromptly(t); err != nil {
		t.Errorf("Run: %v", err)
	}
}

// TestSidecarWithDNS: the address is bound, and one that is taken ends the start.
func TestSidecarWithDNS(t *testing.T) {
	t.Parallel()
	c := (&fakeConsul{}).start(t)
	s := start(t, c, "-consul-dns-bind-port=0")
	s.mustBeReady(t)
	_, port, _ := net.SplitHostPort(s.dns.UDPAddr().String())
	if _, err := prepare(t, c, "-consul-dns-bind-port="+port); ExitCode(err) != ExitListen {
		t.Errorf("a taken port: %v", err)
	}
	s.terminate()
	s.mustEndCleanly(t)
	mustBeFree(t, s.dns.TCPAddr().String())
}
