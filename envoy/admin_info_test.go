// SPDX-License-Identifier: MPL-2.0

package envoy

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestServerInfo(t *testing.T) {
	t.Parallel()
	a := newAdminServer(t, 200, `{"version":"c0ffee/1.34.1/Clean/RELEASE/BoringSSL","state":"LIVE","uptime_current_epoch":"5s"}`)
	got, err := a.ServerInfo(t.Context())
	if err != nil || got.State != Live || !strings.Contains(got.Version, "1.34.1") {
		t.Errorf("got %+v (%v)", got, err)
	}
}

func TestCerts(t *testing.T) {
	t.Parallel()
	a := newAdminServer(t, 200, `{"certificates":[{
	 "ca_cert":[{"path":"<inline>","serial_number":"0a","subject_alt_names":[{"uri":"spiffe://x.consul"}],
	   "days_until_expiration":"3649","valid_from":"2026-01-01T00:00:00Z","expiration_time":"2036-01-01T00:00:00Z"}],
	 "cert_chain":[{"path":"<inline>","serial_number":"0b",
	   "subject_alt_names":[{"uri":"spiffe://x.consul/ns/default/dc/dc1/svc/web"},{"dns":"web"}],
	   "valid_from":"2026-01-01T00:00:00Z","expiration_time":"2026-01-04T00:00:00Z"}]}]}`)
	certs, err := a.Certs(t.Context())
	if err != nil || len(certs) != 2 {
		t.Fatalf("got %+v (%v)", certs, err)
	}
	leaf := certs[0]
	if !leaf.NotBefore.Equal(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("leaf is valid from %s", leaf.NotBefore)
	}
	if leaf.CA || leaf.Serial != "0b" || !leaf.NotAfter.Equal(time.Date(2026, 1, 4, 0, 0, 0, 0, time.UTC)) ||
		!slices.Equal(leaf.URIs, []string{"spiffe://x.consul/ns/default/dc/dc1/svc/web"}) {
		t.Errorf("leaf is %+v", leaf)
	}
	if !certs[1].CA {
		t.Errorf("authority is %+v", certs[1])
	}
}

func TestClusters(t *testing.T) {
	t.Parallel()
	a := newAdminServer(t, 200, `{"cluster_statuses":[
	 {"name":"local_app","host_statuses":[{"health_status":{"eds_health_status":"HEALTHY"}}]},
	 {"name":"api","added_via_api":true,"host_statuses":[
	  {"health_status":{"eds_health_status":"HEALTHY"}},
	  {"health_status":{"eds_health_status":"UNHEALTHY"}},
	  {"health_status":{"eds_health_status":"HEALTHY","failed_outlier_check":true}},
	  {"health_status":{"failed_active_health_check":true}}]},
	 {"name":"empty"}]}`)
	got, err := a.Clusters(t.Context())
	want := []Cluster{{"local_app", false, 1, 1}, {"api", true, 4, 1}, {"empty", false, 0, 0}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v (%v), want %+v", got, err, want)
	}
}

func TestListeners(t *testing.T) {
	t.Parallel()
	a := newAdminServer(t, 200, `{"listener_statuses":[
	 {"name":"public_listener","local_address":{"socket_address":{"address":"10.0.0.7","port_value":20000}}},
	 {"name":"v6","local_address":{"socket_address":{"address":"::1","port_value":9191}}},
	 {"name":"pipe","local_address":{"pipe":{"path":"/tmp/x.sock"}}}]}`)
	got, err := a.Listeners(t.Context())
	want := []Listener{{"public_listener", "10.0.0.7:20000"}, {"v6", "[::1]:9191"}, {"pipe", "/tmp/x.sock"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v (%v), want %+v", got, err, want)
	}
}

func TestBadAnswers(t *testing.T) {
	t.Parallel()
	calls := map[string]func(context.Context, *Admin) error{
		"info":      func(ctx context.Context, a *Admin) error { _, err := a.ServerInfo(ctx); return err },
		"certs":     func(ctx context.Context, a *Admin) error { _, err := a.Certs(ctx); return err },
		"clusters":  func(ctx context.Context, a *Admin) error { _, err := a.Clusters(ctx); return err },
		"listeners": func(ctx context.Context, a *Admin) error { _, err := a.Listeners(ctx); return err },
	}
	onlyStatus := map[string]func(context.Context, *Admin) error{
		"activity": func(ctx context.Context, a *Admin) error { _, err := a.Activity(ctx); return err },
		"accepted": func(ctx context.Context, a *Admin) error { _, err := a.Accepted(ctx); return err },
		"dump":     func(ctx context.Context, a *Admin) error { return a.ConfigDump(ctx, io.Discard) },
	}
	broken := newAdminServer(t, 200, `{"certificates": [`)
	failing := newAdminServer(t, 500, "oops")
	for name, call := range calls {
		if err := call(t.Context(), broken.Admin); err == nil || !strings.Contains(err.Error(), "decode answer") {
			t.Errorf("%s: broken JSON gave %v", name, err)
		}
		onlyStatus[name] = call
	}
	var status *StatusError
	for name, call := range onlyStatus {
		if err := call(t.Context(), failing.Admin); !errors.As(err, &status) || status.Body != "oops" {
			t.Errorf("%s: a 500 gave %v", name, err)
		}
	}
}
