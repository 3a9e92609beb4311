// SPDX-License-Identifier: MPL-2.0

package xdsproxy

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestMessagesAreCountedByDirectionAndType(t *testing.T) {
	t.Parallel()
	server := newConsul(t)
	p := startProxy(t, Config{Upstream: server.conn, Registerer: prometheus.NewRegistry()})
	e, _ := start(t, server, p)
	m := p.server.metrics
	for _, typ := range []string{"Cluster", "ClusterLoadAssignment"} {
		for direction, want := range map[direction]float64{fromEnvoy: 2, toServer: 2, fromServer: 1, toEnvoy: 1} {
			if n := testutil.ToFloat64(m.messages.WithLabelValues(direction.String(), typ)); n != want {
				t.Errorf("%v messages of %s %s, not %v", n, typ, direction, want)
			}
			if n := testutil.ToFloat64(m.bytes.WithLabelValues(direction.String(), typ)); n == 0 {
				t.Errorf("no bytes of %s %s", typ, direction)
			}
		}
		if n := testutil.ToFloat64(m.resources.WithLabelValues(typ)); n != 2 {
			t.Errorf("%v resources of %s", n, typ)
		}
		if n := testutil.ToFloat64(m.answers.WithLabelValues(typ, "ack")); n != 1 {
			t.Errorf("%v ACKs of %s", n, typ)
		}
	}
	if n := testutil.ToFloat64(m.upstreamUp); n != 1 {
		t.Errorf("upstream_connected is %v with a stream", n)
	}
	e.close()
	deadline := time.After(patience)
	for testutil.ToFloat64(m.upstreamUp)+testutil.ToFloat64(m.envoyUp) != 0 {
		select {
		case <-deadline:
			t.Fatal("envoy has gone, and the streams count as open")
		case <-time.After(time.Millisecond):
		}
	}
	if p.server.Status().UpstreamConnected {
		t.Error("the status says that there is a stream")
	}
}

func TestTypeLabel(t *testing.T) {
	t.Parallel()
	for typeURL, want := range map[string]string{
		clusterType: "Cluster",
		"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret": "Secret",
		"":                               "other",
		"whatever":                       "other",
		"type.googleapis.com/envoy.\xff": "other",
		"type.googleapis.com/envoy." + strings.Repeat("x", 200): "other",
	} {
		if got := typeLabel(typeURL); got != want {
			t.Errorf("%q is labelled %q, not %q", typeURL, got, want)
		}
	}
}
