// SPDX-License-Identifier: MPL-2.0

package envoyend

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"podplane/integration/bench/consulend"
	"podplane/integration/bench/control"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what is waited for.
const patience = 30 * time.Second

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// bed is a benchmark with a server, and an Envoy that is connected straight to
// it: between the two there is no dataplane.
type bed struct {
	dir      string
	listener *control.Listener
	server   *control.Peer
	addr     string
	stop     func() // ends the server
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{dir: t.TempDir(), addr: "127.0.0.1:0"}
	var err error
	if b.listener, err = control.Listen(ControlPath(b.dir)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.listener.Close() })
	b.serve(t)
	return b
}

// serve starts the server, again at the same address if there was one.
func (b *bed) serve(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- consulend.Run(ctx, consulend.Config{
			Control: ControlPath(b.dir), Listen: b.addr, Servers: []string{"127.0.0.1"}, ProxyConfig: map[string]any{},
		})
	}()
	var err error
	if b.server, err = b.listener.Next(bounded(t), consulend.Role); err != nil {
		t.Fatal(err)
	}
	b.addr = b.server.Hello().Addr
	b.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		ended <- nil // for the clean-up
	}
	t.Cleanup(func() { b.stop() })
}

// socket is an address as a bootstrap has it.
func socket(t *testing.T, addr string) map[string]any {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{"socket_address": map[string]any{"address": host, "port_value": n}}
}

// bootstrapOf is a small bootstrap that leads to an ADS server.
func bootstrapOf(t *testing.T, admin, ads map[string]any) string {
	t.Helper()
	content, err := json.Marshal(map[string]any{
		"node":  map[string]any{"id": "web-sidecar-proxy", "cluster": "web"},
		"admin": map[string]any{"address": admin},
		"dynamic_resources": map[string]any{"ads_config": map[string]any{
			"api_type": "DELTA_GRPC", "transport_api_version": "V3",
			// One value where a list is meant, as Consul writes it.
			"grpc_services": map[string]any{
				"envoy_grpc":       map[string]any{"cluster_name": "xds"},
				"initial_metadata": map[string]any{"key": "X-Secret", "value": "s"},
			},
		}},
		"static_resources": map[string]any{"clusters": []any{
			map[string]any{"name": "other"},
			map[string]any{"name": "xds", "type": "STATIC", "connect_timeout": "1s", "load_assignment": map[string]any{
				"cluster_name": "xds",
				"endpoints": []any{map[string]any{"lb_endpoints": []any{
					map[string]any{"endpoint": map[string]any{"address": ads}},
				}}},
			}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// start runs an Envoy and gives its admin address and its end.
func (b *bed) start(t *testing.T) (envoy *control.Peer, admin string, ended <-chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	admin = l.Addr().String()
	_ = l.Close()
	config := filepath.Join(b.dir, "bootstrap.json")
	if err := os.WriteFile(config, []byte(bootstrapOf(t, socket(t, admin), socket(t, b.addr))), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	end := make(chan error, 2)
	done := make(chan struct{})
	go func() {
		defer close(done)
		end <- Run(ctx, []string{filepath.Join(b.dir, Role), "--log-level", "info", "--config-path", config})
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	if envoy, err = b.listener.Next(bounded(t), Role); err != nil {
		t.Fatal(err)
	}
	return envoy, admin, end
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func awaitEnd(t *testing.T, ended <-chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-bounded(t).Done():
		return fmt.Errorf("no end within %s", patience)
	}
}
