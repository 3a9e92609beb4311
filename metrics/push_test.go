// SPDX-License-Identifier: MPL-2.0

package metrics

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gometrics "github.com/hashicorp/go-metrics"
	"github.com/prometheus/client_golang/prometheus"
)

// receive runs a Pusher for one push at its end, and returns the lines that
// came to conn.
func receive(t *testing.T, conn net.PacketConn, cfg PushConfig) []string {
	t.Helper()
	cfg.Interval = time.Hour
	p, err := NewPusher(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Run(ctx); err != nil {
		t.Fatal(err)
	}
	// What was sent on this machine has arrived when Run returns, and before this.
	const last = "the last"
	sender, err := net.Dial(conn.LocalAddr().Network(), conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	if _, err := io.WriteString(sender, last); err != nil {
		t.Fatal(err)
	}
	var lines []string
	buf := make([]byte, 64<<10)
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	for {
		n, _, err := conn.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		if string(buf[:n]) == last {
			slices.Sort(lines)
			return lines
		}
		lines = append(lines, strings.Split(strings.TrimSpace(string(buf[:n])), "\n")...)
	}
}

// pushed has one family of each kind.
func pushed(t *testing.T) *prometheus.Registry {
	t.Helper()
	reg := prometheus.NewRegistry()
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "podplane_xds_messages_total", Help: "h"}, []string{"type"})
	c.WithLabelValues("a.b:c").Add(3.5)
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "podplane_consul_connected", Help: "h"})
	g.Set(1)
	same := prometheus.NewGauge(prometheus.GaugeOpts{Name: "consul_dataplane_consul_connected", Help: "h"})
	same.Set(1)
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "podplane_login_duration_seconds", Help: "h"})
	h.Observe(0.5)
	s := prometheus.NewSummary(prometheus.SummaryOpts{Name: "podplane_size", Help: "h"})
	s.Observe(2)
	reg.MustRegister(c, g, same, h, s, prometheus.NewUntypedFunc(prometheus.UntypedOpts{Name: "other", Help: "h"}, func() float64 { return 7 }))
	return reg
}

func TestPushStatsd(t *testing.T) {
	t.Setenv("DD_ENV", "production") // which the library would turn into a tag
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	got := receive(t, conn, PushConfig{Gatherer: pushed(t), Sinks: []Sink{{Network: "udp", Addr: conn.LocalAddr().String()}}})
	want := []string{
		"consul_dataplane.consul_connected:1|g",
		"consul_dataplane.login_duration_seconds.count:1|c",
		"consul_dataplane.login_duration_seconds.sum:0.5|g",
		"consul_dataplane.other:7|g",
		"consul_dataplane.size.count:1|c",
		"consul_dataplane.size.sum:2|g",
		"consul_dataplane.xds_messages_total.a_b_c:3|c",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestPushDogstatsd(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "dsd.sock")
	socket, err := net.ListenPacket("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = udp.Close() }()
	for _, c := range []struct {
		conn net.PacketConn
		sink Sink
	}{
		{socket, Sink{Network: "unixgram", Addr: path, Dogstatsd: true, Tags: []string{"dc:one"}}},
		{udp, Sink{Network: "udp", Addr: udp.LocalAddr().String(), Dogstatsd: true, Tags: []string{"dc:one"}}},
	} {
		got := receive(t, c.conn, PushConfig{Gatherer: pushed(t), Sinks: []Sink{c.sink}, Prefix: "p"})
		if len(got) != 7 || !strings.HasPrefix(got[6], "p.xds_messages_total:3|c|#dc:one,type:a.b:c") {
			t.Errorf("%s: got %q", c.sink.Network, got)
		}
	}
}

func TestPushWithoutServer(t *testing.T) {
	t.Parallel()
	for _, sink := range []Sink{
		{Network: "unixgram", Addr: filepath.Join(t.TempDir(), "none"), Dogstatsd: true},
		{Network: "udp", Addr: "127.0.0.1:1", Dogstatsd: true},
		{Network: "udp", Addr: "127.0.0.1:1"},
		{Network: "udp", Addr: "no port"},
	} {
		p, err := NewPusher(PushConfig{Gatherer: pushed(t), Sinks: []Sink{sink}, Interval: time.Millisecond}, nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if err := p.Run(ctx); err != nil {
			t.Errorf("%v: %v", sink, err)
		}
		cancel()
	}
}

func TestPushNothing(t *testing.T) {
	t.Parallel()
	p, err := NewPusher(PushConfig{Gatherer: prometheus.NewRegistry()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Run(ctx); err != nil {
		t.Error(err)
	}
	for name, cfg := range map[string]PushConfig{
		"no gatherer": {},
		"no address":  {Gatherer: prometheus.NewRegistry(), Sinks: []Sink{{Network: "udp"}}},
		"tcp":         {Gatherer: prometheus.NewRegistry(), Sinks: []Sink{{Network: "tcp", Addr: "a:1"}}},
	} {
		if _, err := NewPusher(cfg, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestCountersAsIncreases(t *testing.T) {
	t.Parallel()
	var p points
	var got []float64
	for _, v := range []float64{2, 2, 2.5, 3.25, 10, 4, 5} { // reset before the 4
		got = append(got, p.increase("x", nil, v))
	}
	if want := []float64{2, 0, 0, 1, 7, 4, 1}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestBridge(t *testing.T) {
	reg := prometheus.NewRegistry()
	b, err := NewBridge(reg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewBridge(reg); err == nil {
		t.Error("registered twice without an error")
	}
	if _, err := NewBridge(nil); err != nil {
		t.Error(err)
	}
	if err := b.InstallGlobally(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := gometrics.NewGlobal(&gometrics.Config{}, &gometrics.BlackholeSink{}); err != nil {
			t.Error(err)
		}
	})
	// Reported as the connection manager does.
	gometrics.SetGauge([]string{"consul_connected"}, 1)
	gometrics.SetGauge([]string{"connection_errors"}, 1)
	for range 2 {
		gometrics.SetGaugeWithLabels([]string{"connection_errors"}, 1, []gometrics.Label{{Name: "error_code", Value: "Unavailable"}})
	}
	gometrics.AddSample([]string{"login_duration"}, 77) // the manager's own, which has none
	b.Logins().Observe(0.25)
	gometrics.AddSampleWithLabels([]string{"connect_duration"}, 20, nil)
	gometrics.AddSample([]string{"unheard_of"}, 20)
	gometrics.IncrCounter([]string{"unheard_of"}, 20)
	gometrics.IncrCounterWithLabels([]string{"unheard_of"}, 20, nil)
	gometrics.EmitKey([]string{"unheard_of"}, 20)
	gometrics.SetGaugeWithLabels([]string{"unheard_of"}, 1, nil)

	connected := false
	reg.MustRegister(NewCompat(CompatSources{
		EnvoyConnected:  func() bool { return connected },
		ConsulConnected: func() bool { return true },
	}))
	text := get(t, start(t, Config{Registry: reg})).text
	check(t, text)
	wantAll(t, text,
		"consul_dataplane_envoy_connected 0\n", "consul_dataplane_consul_connected 1\n",
		"consul_dataplane_connection_errors{error_code=\"Unavailable\"} 1\n",
		"podplane_serverconn_rpc_errors_total{code=\"Unavailable\"} 2\n",
		"podplane_serverconn_connect_duration_seconds_count 1\n",
		"consul_dataplane_login_duration_sum 250\n", "consul_dataplane_connect_duration_count 1\n",
		"podplane_serverconn_discover_duration_seconds_count 0\n",
	)
	if strings.Contains(text, "unheard_of") {
		t.Error("something that nobody knows is exposed")
	}
}
