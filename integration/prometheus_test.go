// SPDX-License-Identifier: MPL-2.0

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"podplane/integration/mesh"
	"podplane/integration/ports"
	"podplane/integration/proc"
	"podplane/integration/servers"
)

// promServer is a real Prometheus server.
type promServer struct{ api string }

// startPrometheus starts one that scrapes what jobs, the scrape_configs in YAML,
// name. A scrape may take as long as the interval.
func startPrometheus(t *testing.T, jobs string) promServer {
	t.Helper()
	program, err := servers.Prometheus().Find()
	must(t, err)
	block, err := ports.Reserve(1)
	must(t, err)
	t.Cleanup(block.Release)
	addr := ports.HostPort("127.0.0.1", block.Next())
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yaml")
	must(t, os.WriteFile(config, []byte("global: {scrape_interval: 5s, scrape_timeout: 5s}\nscrape_configs:\n"+jobs), 0o600))
	process, err := proc.Start(proc.Spec{Name: "prometheus", Dir: dir, Args: []string{
		program, "--config.file=" + config, "--storage.tsdb.path=" + filepath.Join(dir, "data"),
		"--web.listen-address=" + addr, "--log.level=warn",
	}})
	must(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(process.Output())
		}
		if err := process.Stop(patience); err != nil {
			t.Error(err)
		}
	})
	return promServer{api: "http://" + addr + "/api/v1/"}
}

// get asks the API and decodes the data of its answer.
func (p promServer) get(ctx context.Context, path string, query url.Values, data any) error {
	answer, err := mesh.Get(ctx, p.api+path+"?"+query.Encode())
	if err != nil {
		return err
	}
	var wrapped struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.Unmarshal([]byte(answer.Body), &wrapped); err != nil {
		return err
	}
	if wrapped.Status != "success" {
		return fmt.Errorf("%s?%s: %s", path, query.Encode(), wrapped.Error)
	}
	return json.Unmarshal(wrapped.Data, data)
}

// series is how many series a query gives.
func (p promServer) series(ctx context.Context, query string) (int, error) {
	var data struct{ Result []any }
	err := p.get(ctx, "query", url.Values{"query": {query}}, &data)
	return len(data.Result), err
}

// holds waits until every query gives a series.
func (p promServer) holds(t *testing.T, queries ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var missing []string
	if mesh.Until(ctx, func(ctx context.Context) bool {
		missing = nil
		for _, q := range queries {
			if n, err := p.series(ctx, q); err != nil || n == 0 {
				missing = append(missing, fmt.Sprint(q, " ", err))
			}
		}
		return len(missing) == 0
	}) != nil {
		t.Fatalf("Prometheus has nothing for:\n%s", strings.Join(missing, "\n"))
	}
}

// names are the metrics that Prometheus has stored.
func (p promServer) names(t *testing.T) map[string]bool {
	t.Helper()
	var list []string
	must(t, p.get(bounded(t), "label/__name__/values", nil, &list))
	names := make(map[string]bool, len(list))
	for _, name := range list {
		names[name] = true
	}
	return names
}
