// SPDX-License-Identifier: MPL-2.0

package dataplane

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pushed is a statsd server that keeps what it gets.
type pushed struct {
	net.PacketConn
}

func listenStatsd(t *testing.T, network, address string) pushed {
	t.Helper()
	c, err := net.ListenPacket(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return pushed{c}
}

// all gives what has come, once all senders have ended: on this machine a
// datagram has arrived when its sending returns, and so before the last.
func (p pushed) all(t *testing.T) string {
	t.Helper()
	const last = "the last"
	sender, err := net.Dial(p.LocalAddr().Network(), p.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	if _, err := io.WriteString(sender, last); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	buf := make([]byte, 64<<10)
	_ = p.SetReadDeadline(time.Now().Add(patience))
	for {
		n, _, err := p.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		if string(buf[:n]) == last {
			return text.String()
		}
		text.Write(buf[:n])
		text.WriteByte('\n')
	}
}

// TestPush: what the proxy's config in Consul asks for, and nothing else.
func TestPush(t *testing.T) {
	t.Parallel()
	for name, central := range map[string]bool{"central config": true, "no central config": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			statsd := listenStatsd(t, "udp", "127.0.0.1:0")
			socket := filepath.Join(t.TempDir(), "dsd.sock")
			dogstatsd := listenStatsd(t, "unixgram", socket)
			c := (&fakeConsul{proxyConfig: map[string]any{
				"envoy_statsd_url":    "udp://" + statsd.LocalAddr().String(),
				"envoy_dogstatsd_url": "unix://" + socket,
				"envoy_stats_tags":    []any{"team=a"},
			}}).start(t)
			var args []string
			if !central {
				args = append(args, "-telemetry-use-central-config=false")
			}
			s := start(t, c, args...)
			s.mustBeReady(t)
			_, status := s.do(t, http.MethodGet, "/status")
			s.terminate()
			s.mustEndCleanly(t)
			plain, tagged := statsd.all(t), dogstatsd.all(t)
			if !central {
				if plain+tagged != "" || strings.Contains(status, socket) {
					t.Errorf("pushed although nobody asked:\n%s\n%s", plain, tagged)
				}
				return
			}
			mention(t, plain, "consul_dataplane.consul_connected:", "consul_dataplane.serverconn_changes_total:1|c")
			mention(t, tagged, "consul_dataplane.serverconn_changes_total:1|c|#", "team:a", "consul.source.service:web")
			mention(t, status, statsd.LocalAddr().String(), socket)
			if strings.Contains(plain, "#") {
				t.Errorf("plain statsd with tags:\n%s", plain)
			}
		})
	}
}

// TestNamesOfTheReference: dashboards made for consul-dataplane find theirs.
func TestNamesOfTheReference(t *testing.T) {
	t.Parallel()
	c := (&fakeConsul{token: "secret"}).start(t)
	bearer := filepath.Join(t.TempDir(), "bearer")
	if err := os.WriteFile(bearer, []byte("jwt"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, c, "-credential-type=login", "-login-auth-method=k8s", "-login-bearer-token-path="+bearer)
	s.mustBeReady(t)
	_, text := request(t, http.MethodGet, "http://"+s.metrics.Addr().String()+"/stats/prometheus")
	mention(t, text,
		"\nconsul_dataplane_envoy_connected 1\n", "\nconsul_dataplane_consul_connected 1\n",
		"\nconsul_dataplane_login_duration_count 1\n", "\npodplane_serverconn_login_duration_seconds_count 1\n",
		"\nconsul_dataplane_connect_duration_count", "\nconsul_dataplane_discover_servers_duration_count",
	)
	var status struct {
		Metrics metricsStatus `json:"metrics"`
	}
	_, body := s.do(t, http.MethodGet, "/status")
	if err := json.Unmarshal([]byte(body), &status); err != nil {
		t.Fatal(err)
	}
	m := status.Metrics
	if m.Address != s.metrics.Addr().String() || len(m.Sources) != 2 || !m.Sources[0].Up || !m.Sources[1].Up {
		t.Errorf("metrics section: %+v", m)
	}
}
