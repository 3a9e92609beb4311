// SPDX-License-Identifier: MPL-2.0

package stats

import (
	"encoding/json"
	"regexp"
	"strings"
	"sync"
	"testing"

	metricsv3 "github.com/envoyproxy/go-control-plane/envoy/config/metrics/v3"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protojson"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newStore(t testing.TB, config string) *Store {
	t.Helper()
	var cfg *metricsv3.StatsConfig
	if config != "" {
		cfg = &metricsv3.StatsConfig{}
		if err := protojson.Unmarshal([]byte(config), cfg); err != nil {
			t.Fatal(err)
		}
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func text(t testing.TB, s *Store, q Query) string {
	t.Helper()
	var b strings.Builder
	if err := s.WriteText(&b, q); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestScopes(t *testing.T) {
	t.Parallel()
	s := newStore(t, "")
	old, next := s.Scope("cluster.a."), s.Scope("cluster.a.")
	old.Counter("n").Add(2)
	next.Counter("n").Inc()
	old.Gauge("g").Inc()
	old.Close()
	old.Close()
	if v, ok := s.Value("cluster.a.n"); v != 3 || !ok {
		t.Errorf("n = %d, %t: a successor must go on counting", v, ok)
	}
	if _, ok := s.Value("cluster.a.g"); ok {
		t.Error("g outlives its last scope")
	}
	old.Gauge("g").Dec()
	old.Counter("late").Inc()
	if _, ok := s.Value("cluster.a.late"); ok {
		t.Error("a closed scope brought a name back")
	}
	if _, ok := s.Value("cluster.a.none"); ok {
		t.Error("an unknown name has a value")
	}
	if old.Prefix() != "cluster.a." {
		t.Error(old.Prefix())
	}
}

func TestKindsDoNotMix(t *testing.T) {
	t.Parallel()
	s := newStore(t, "")
	sc := s.Scope("")
	sc.Counter("x").Add(5)
	s.Scope("").Gauge("x").Set(9)
	if v, _ := s.Value("x"); v != 5 {
		t.Errorf("x = %d", v)
	}
	sc.Histogram("h").Record(1)
	if _, ok := s.Value("h"); ok {
		t.Error("a histogram has no single value")
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	s := newStore(t, "")
	sc := s.Scope("a.")
	sc.Counter("used").Inc()
	sc.Counter("unused")
	sc.Gauge("g").Set(-4)
	sc.Histogram("empty")
	h := sc.Histogram("h")
	for range 10 {
		h.Record(3)
	}
	if got, want := text(t, s, Query{}), "a.g: -4\na.unused: 0\na.used: 1\na.empty: No recorded values\na.h: P0(1,1) P25(2,2) "; !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want it to begin with %q", got, want)
	}
	if got := text(t, s, Query{UsedOnly: true, Filter: regexp.MustCompile(`us|empty`)}); got != "a.used: 1\n" {
		t.Errorf("filtered: %q", got)
	}
	s.ResetCounters()
	if got := text(t, s, Query{UsedOnly: true, Filter: regexp.MustCompile(`^a\.[gu]`)}); got != "a.g: -4\n" {
		t.Errorf("after a reset: %q", got)
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	s := newStore(t, "")
	s.Scope("").Counter("c").Inc()
	s.Scope("").Histogram("h").Record(1)
	s.Scope("").Histogram("none")
	var b strings.Builder
	if err := s.WriteJSON(&b, Query{}); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Stats []struct {
			Name       string
			Value      int64
			Histograms struct {
				Supported []float64 `json:"supported_quantiles"`
				Computed  []struct {
					Name   string
					Values []struct{ Cumulative *float64 }
				} `json:"computed_quantiles"`
			}
		}
	}
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Stats) != 2 || got.Stats[0].Name != "c" || got.Stats[0].Value != 1 {
		t.Fatalf("%s", b.String())
	}
	h := got.Stats[1].Histograms
	if len(h.Supported) != 10 || len(h.Computed) != 2 || h.Computed[0].Values[9].Cumulative == nil || h.Computed[1].Values[9].Cumulative != nil {
		t.Errorf("%s", b.String())
	}
}

// TestPrometheus checks names and labels as Envoy has them, and that a Prometheus parser reads the whole.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	s := newStore(t, "")
	for _, name := range []string{
		"cluster.local_app.upstream_rq_total", "cluster.local_app.upstream_rq_2xx", "cluster.local_app.upstream_rq_200",
		"http.public_listener.downstream_rq_total", "listener.127.0.0.1_9191.downstream_cx_total",
		"listener.0.0.0.0_80.http.in.downstream_rq_2xx", "tcp.upstream.api.default.downstream_cx_total",
		"listener.[__1]_80.ssl.versions.TLSv1.3", "listener_manager.worker_1.dispatch", `cluster.q"\.upstream_rq_total`,
	} {
		s.Scope("").Counter(name).Inc()
	}
	s.Scope("cluster.local_app.").Gauge("upstream_cx_active").Set(2)
	s.Scope("cluster.local_app.").Histogram("upstream_rq_time").Record(7)
	var b strings.Builder
	if err := s.WritePrometheus(&b, Query{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# TYPE envoy_cluster_upstream_rq_total counter\n", `envoy_cluster_upstream_rq_total{envoy_cluster_name="local_app"} 1`,
		`envoy_cluster_upstream_rq_total{envoy_cluster_name="q\"\\"} 1`,
		`envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="local_app"} 1`,
		`envoy_cluster_upstream_rq{envoy_response_code="200",envoy_cluster_name="local_app"} 1`,
		`envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix="public_listener"} 1`,
		`envoy_listener_downstream_cx_total{envoy_listener_address="127.0.0.1_9191"} 1`,
		`envoy_listener_http_downstream_rq_xx{envoy_response_code_class="2",envoy_http_conn_manager_prefix="in",envoy_listener_address="0.0.0.0_80"} 1`,
		`envoy_tcp_downstream_cx_total{envoy_tcp_prefix="upstream.api.default"} 1`,
		`envoy_listener_ssl_versions{envoy_ssl_version="TLSv1.3",envoy_listener_address="[__1]_80"} 1`,
		`envoy_listener_manager_dispatch{envoy_worker_id="worker_1"} 1`,
		`envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="local_app",le="10"} 1`,
		`envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="local_app",le="5"} 0`,
		`envoy_cluster_upstream_rq_time_sum{envoy_cluster_name="local_app"} 7`,
		"# TYPE envoy_cluster_upstream_cx_active gauge\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("lacks %q in\n%s", want, b.String())
		}
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	if _, err := parser.TextToMetricFamilies(strings.NewReader(b.String())); err != nil {
		t.Error(err)
	}
}

// TestTags extracts the bootstrap's own tags, of which outer groups leave the name.
func TestTags(t *testing.T) {
	t.Parallel()
	s := newStore(t, `{"stats_tags":[
		{"tag_name":"consul.destination.service","regex":"^cluster\\.(?:passthrough~)?((?:[^.]+~)?(?:[^.]+\\.)?([^.]+)\\.[^.]+\\.(?:[^.]+\\.)?[^.]+\\.internal[^.]*\\.[^.]+\\.consul\\.)"},
		{"tag_name":"local_cluster","fixed_value":"web"},{"tag_name":"empty","fixed_value":""},{"tag_name":"envoy.tcp_prefix"}],"use_all_default_tags":true}`)
	name, tags := s.tags.extract("cluster.v2.pong.default.dc2.internal.e5b08d03.consul.bind_errors")
	if name != "cluster.bind_errors" {
		t.Errorf("name %q", name)
	}
	got := map[string]string{}
	for _, tag := range tags {
		got[tag.Name] = tag.Value
	}
	for tag, want := range map[string]string{"local_cluster": "web", "empty": "", "consul.destination.service": "pong", "envoy.cluster_name": "v2"} {
		if v, ok := got[tag]; !ok || v != want {
			t.Errorf("%s = %q, %t", tag, v, ok)
		}
	}
	none := newStore(t, `{"use_all_default_tags":false}`)
	if name, tags := none.tags.extract("cluster.a.b"); name != "cluster.a.b" || len(tags) != 0 {
		t.Errorf("%q %v", name, tags)
	}
}

func TestRefusedConfig(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		`{"stats_tags":[{"tag_name":"x","regex":"("}]}`:                                                 `tag "x"`,
		`{"stats_tags":[{"tag_name":"x","regex":"a"}]}`:                                                 "no capture group",
		`{"stats_tags":[{"tag_name":"x"}]}`:                                                             "no default regex for name: 'x'",
		`{"stats_matcher":{"inclusion_list":{"patterns":[{"safe_regex":{"regex":"("}}]}}}`:              "stats_matcher",
		`{"histogram_bucket_settings":[{"match":{"prefix":"a"}}]}`:                                      "buckets are missing",
		`{"histogram_bucket_settings":[{"match":{"safe_regex":{"regex":"("}},"buckets":[1]}]}`:          "histogram_bucket_settings",
		`{"stats_matcher":{"exclusion_list":{"patterns":[{"custom":{"name":"x","typed_config":{}}}]}}}`: "not supported",
	} {
		cfg := &metricsv3.StatsConfig{}
		if err := protojson.Unmarshal([]byte(config), cfg); err != nil {
			// A custom matcher needs a type; without one only the shape matters.
			config = `{"stats_matcher":{"exclusion_list":{"patterns":[{}]}}}`
			if err := protojson.Unmarshal([]byte(config), cfg); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", config, err)
		}
	}
}

func TestMatcherAndBuckets(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		`{"stats_matcher":{"reject_all":true}}`: "",
		`{"stats_matcher":{"inclusion_list":{"patterns":[{"prefix":"A","ignore_case":true},{"exact":"b.y"}]}}}`:             "a.x: 0\nb.y: 0\n",
		`{"stats_matcher":{"exclusion_list":{"patterns":[{"suffix":".x"},{"contains":"b"},{"safe_regex":{"regex":"c"}}]}}}`: "c.y: 0\n",
	} {
		s := newStore(t, config)
		for _, name := range []string{"a.x", "b.y", "c.y"} {
			s.Scope("").Counter(name)
		}
		if got := text(t, s, Query{}); got != want {
			t.Errorf("%s: %q", config, got)
		}
	}
	s := newStore(t, `{"histogram_bucket_settings":[{"match":{"prefix":"h"},"buckets":[2,1]}]}`)
	h := s.Scope("").Histogram("h")
	for _, v := range []float64{0.5, 1, 1.5, 9} {
		h.Record(v)
	}
	got := h.Value()
	if got.Count != 4 || got.Sum != 12 || got.Cumulative[0] != 2 || got.Cumulative[1] != 3 || got.Quantile(1) != 2 {
		t.Errorf("%+v", got)
	}
	if len(s.Scope("").Histogram("other").Value().Bounds) != 19 {
		t.Error("not Envoy's buckets")
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	s := newStore(t, "")
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 200 {
				sc := s.Scope("a.")
				sc.Counter("n").Inc()
				sc.Histogram("h").Record(1)
				s.Snapshot(Query{})
				sc.Close()
			}
		})
	}
	group.Wait()
	if got := text(t, s, Query{}); got != "" {
		t.Errorf("left: %q", got)
	}
}

func FuzzExtract(f *testing.F) {
	f.Add("cluster.a.b.upstream_rq_200")
	f.Add("listener.[__1]_80.http.x.downstream_rq_2xx")
	s := newStore(f, "")
	f.Fuzz(func(t *testing.T, name string) {
		bare, tags := s.tags.extract(name)
		if len(bare) > len(name) {
			t.Errorf("%q became %q", name, bare)
		}
		for _, tag := range tags {
			if !strings.Contains(name, tag.Value) {
				t.Errorf("%q is not in %q", tag.Value, name)
			}
		}
	})
}
