// SPDX-License-Identifier: MPL-2.0

package consultest

import (
	"errors"
	"maps"
	"reflect"
	"regexp"
	"testing"
	"time"
)

func TestMerge(t *testing.T) {
	t.Parallel()
	base := map[string]any{"a": map[string]any{"x": 1, "y": 2}, "b": 3}
	merge(base, map[string]any{"a": map[string]any{"y": 4}, "b": map[string]any{"z": 5}, "c": 6})
	want := map[string]any{"a": map[string]any{"x": 1, "y": 4}, "b": map[string]any{"z": 5}, "c": 6}
	if !reflect.DeepEqual(base, want) {
		t.Errorf("got %v, want %v", base, want)
	}
}

func TestServiceDefaults(t *testing.T) {
	t.Parallel()
	s := Service{Name: "web", Transparent: true}
	if s.ProxyID() != "web-sidecar-proxy" || s.NodeName() != SyntheticNode {
		t.Errorf("proxy ID %q on node %q", s.ProxyID(), s.NodeName())
	}
	s.ID, s.Node = "web-1", "n1"
	if s.ProxyID() != "web-1-sidecar-proxy" || s.NodeName() != "n1" {
		t.Errorf("proxy ID %q on node %q", s.ProxyID(), s.NodeName())
	}
	proxy := s.withDefaults().proxy()["Proxy"].(map[string]any)
	if proxy["Mode"] != "transparent" {
		t.Errorf("mode %v, want transparent", proxy["Mode"])
	}
	for key := range maps.Keys(proxy) {
		if key == "LocalServicePort" {
			t.Error("a client without a port got a local service port")
		}
	}
}

func TestRegisterNeedsNameAndPort(t *testing.T) {
	t.Parallel()
	client := NewClient("http://127.0.0.1:1", "")
	for _, s := range []Service{{}, {Name: "web"}, {ProxyPort: 1}} {
		if err := client.Register(t.Context(), s); err == nil {
			t.Errorf("%+v was accepted", s)
		}
	}
	if err := client.Register(t.Context(), Service{Name: "web", ProxyPort: 1}); err == nil {
		t.Error("a server that is not there was reached")
	}
}

func TestNoJWTWithoutTheOption(t *testing.T) {
	t.Parallel()
	c := &Cluster{}
	if _, err := c.Bearer("web", time.Minute); !errors.Is(err, errNoJWT) {
		t.Errorf("Bearer: %v", err)
	}
	if _, err := c.JWTAuthMethod(); !errors.Is(err, errNoJWT) {
		t.Errorf("JWTAuthMethod: %v", err)
	}
}

func TestNewUUID(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	first, second := newUUID(), newUUID()
	if !form.MatchString(first) || first == second {
		t.Errorf("UUIDs %q and %q", first, second)
	}
}

func TestIssueNeedsAName(t *testing.T) {
	t.Parallel()
	ca, err := NewCA("test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ca.Issue(); err == nil {
		t.Error("a certificate without a name was issued")
	}
}
