// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
)

// sent is one resource of a recording.
type sent struct {
	Type     string          `json:"type"`
	Resource json.RawMessage `json:"resource"`
}

// readMode reads a recording of what a Consul server sends in one mode. Certificates and keys were cut out of it;
// those given are put in.
func readMode(t testing.TB, path string, ca *authority) []sent {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	cert, key := ca.leaf(t, "spiffe://test.consul/ns/default/dc/dc1/svc/web")
	fill := strings.NewReplacer(
		`"trusted_ca":{"inline_string":"<certificate PEM>"}`, `"trusted_ca":{"inline_string":"`+quoted(ca.PEM)+`"}`,
		"<certificate PEM>", quoted(cert), "<private key PEM>", quoted(key),
		"/tmp/", t.TempDir()+"/",
	)
	var out []sent
	lines := bufio.NewScanner(unzipped)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var s sent
		if err := json.Unmarshal([]byte(fill.Replace(lines.Text())), &s); err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func modes(t testing.TB) []string {
	t.Helper()
	paths, err := filepath.Glob("testdata/consul-xds/*.jsonl.gz")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	return paths
}

// TestAcceptsConsul applies everything that a Consul server sends, in the order in which it sends it. Addresses are
// moved to free ports of this machine; nothing else is changed but the certificates.
func TestAcceptsConsul(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	for _, path := range modes(t) {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".jsonl.gz"), func(t *testing.T) {
			t.Parallel()
			e := newEngine(t)
			listeners := 0
			for i, s := range readMode(t, path, ca) {
				var err error
				switch s.Type {
				case "CDS":
					err = e.UpdateCluster(parse(t, &clusterv3.Cluster{}, string(s.Resource)))
				case "EDS":
					err = e.UpdateEndpoints(parse(t, &endpointv3.ClusterLoadAssignment{}, string(s.Resource)))
				case "LDS":
					listeners++
					l := parse(t, &listenerv3.Listener{}, string(s.Resource))
					if sa := l.GetAddress().GetSocketAddress(); sa != nil {
						sa.Address, sa.PortSpecifier = "127.0.0.1", nil
						parse(t, sa, `{"address":"127.0.0.1","port_value":0}`)
					} else if err := os.MkdirAll(filepath.Dir(l.GetAddress().GetPipe().GetPath()), 0o700); err != nil {
						t.Fatal(err)
					}
					err = e.UpdateListener(l)
				case "RDS":
					err = e.UpdateRoutes(parse(t, &routev3.RouteConfiguration{}, string(s.Resource)))
				default:
					err = fmt.Errorf("unknown type %q", s.Type)
				}
				if err != nil {
					t.Errorf("%s %d: %v\n%.2000s", s.Type, i, err, s.Resource)
				}
			}
			if _, warming := e.Warming(); len(warming) > 0 {
				t.Errorf("listeners still warm: %v", warming)
			}
			if got := len(e.Listeners()); got != listeners {
				t.Errorf("%d listeners, want %d", got, listeners)
			}
			for _, l := range e.Listeners() {
				if !l.Accepting {
					t.Errorf("listener %s does not accept", l.Name)
				}
			}
		})
	}
}
