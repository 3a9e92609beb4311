// SPDX-License-Identifier: MPL-2.0

package server_test

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/encoding/protojson"

	"podplane/integration/standin/ads/adstest"
)

// bound is where a listener is bound, as the admin endpoint tells.
func (p *program) bound(name string) string {
	p.tb.Helper()
	var found string
	p.eventually(func() bool {
		_, body := p.do(http.MethodGet, "/listeners")
		for line := range strings.Lines(body) {
			if addr, ok := strings.CutPrefix(strings.TrimSpace(line), name+"::"); ok {
				found = addr
			}
		}
		return found != ""
	}, "the address of "+name)
	return found
}

// expectDial connects to a listener, or is refused.
func (p *program) expectDial(name string, accepted bool) {
	p.tb.Helper()
	conn, err := net.Dial("tcp", p.bound(name))
	if err == nil {
		defer conn.Close()
	}
	if (err == nil) != accepted || (err != nil && !errors.Is(err, syscall.ECONNREFUSED)) {
		p.tb.Errorf("dial %s: %v; accepted: want %t", name, err, accepted)
	}
}

func TestTrafficOnlyWhenLive(t *testing.T) {
	t.Parallel()
	control, path := controlPlane(t)
	config := dynamic(path)
	text, err := protojson.Marshal(tcpListener(t, "static", "consul-dataplane"))
	if err != nil {
		t.Fatal(err)
	}
	resources, _ := config["static_resources"].(map[string]any)
	resources["listeners"] = []any{json.RawMessage(text)}
	p := start(t, writeConfig(t, config))
	s := script{t, control.Accept()}
	s.wants(clusterURL)
	p.becomes("PRE_INITIALIZING")
	p.expectDial("static", false)
	s.send(clusterURL, "c1", adstest.Resource(t, "local_app", "v1", localApp()))
	s.goesOn(clusterURL, "c1")
	s.send(listenerURL, "l1", adstest.Resource(t, "in", "v1", tcpListener(t, "in", "local_app")),
		adstest.Resource(t, "out", "v1", rdsListener(t, "out", "api-routes")))
	s.wants(routeURL, "api-routes")
	s.acks(listenerURL, "l1")
	p.becomes("INITIALIZING")
	for _, name := range []string{"static", "in"} {
		p.expectDial(name, false)
	}
	s.send(routeURL, "r1", adstest.Resource(t, "api-routes", "v1", &routev3.RouteConfiguration{Name: "api-routes"}))
	s.acks(routeURL, "r1")
	p.becomes("LIVE")
	for _, name := range []string{"static", "in", "out"} {
		p.expectDial(name, true)
	}
}
