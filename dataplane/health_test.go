// SPDX-License-Identifier: MPL-2.0

package dataplane

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"podplane/config"
)

func TestCheckProxyHealth(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status int
		body   string
		want   string // in the error; empty: healthy
	}{
		"live":         {http.StatusOK, "LIVE\n", ""},
		"initializing": {http.StatusServiceUnavailable, "INITIALIZING\n", "envoy is INITIALIZING"},
		"draining":     {http.StatusServiceUnavailable, "DRAINING\n", "envoy is DRAINING"},
		"not an envoy": {http.StatusNotFound, "who?\n", "ask envoy for its state"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/ready" {
					t.Errorf("asked %s", r.URL.Path)
				}
				w.WriteHeader(tc.status)
				fmt.Fprint(w, tc.body)
			}))
			defer server.Close()
			err := CheckProxyHealth(t.Context(), at(t, server.Listener.Addr().String()))
			switch {
			case tc.want == "" && err != nil:
				t.Error(err)
			case tc.want != "" && err == nil:
				t.Error("healthy")
			case tc.want != "":
				mention(t, err.Error(), tc.want)
			}
		})
	}
}

func TestCheckProxyHealthWithoutEnvoy(t *testing.T) {
	t.Parallel()
	err := CheckProxyHealth(t.Context(), at(t, loopback()+":19000"))
	if err == nil {
		t.Fatal("healthy")
	}
	mention(t, err.Error(), "connection refused")
	if err := CheckProxyHealth(t.Context(), config.Envoy{AdminBindAddr: "localhost", AdminBindPort: 1}); err == nil {
		t.Error("a name was taken for the admin's address")
	}
}

func TestCheckProxyHealthHasADeadline(t *testing.T) {
	t.Parallel()
	silent := take(t, "tcp", loopback()+":0")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := CheckProxyHealth(ctx, at(t, silent.Addr().String())); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an admin that does not answer gives %v", err)
	}
}

func at(t *testing.T, addr string) config.Envoy {
	t.Helper()
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return config.Envoy{AdminBindAddr: ap.Addr().String(), AdminBindPort: int(ap.Port())}
}
