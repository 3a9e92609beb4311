// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const td = "e5b08d03-bfc3-c870-1833-baddb116e648"

// extract does what Envoy does with a statistic's name: every tag sees the whole name, and what the tags cut out is
// removed in the end. The regular expressions must work with a matcher for which an empty second group is no value.
func extract(t *testing.T, name string) (map[string]string, string) {
	t.Helper()
	tags := make(map[string]string)
	cut := make([]bool, len(name))
	for _, tag := range append(destinationTags(), upstreamTags()...) {
		m := regexp.MustCompile(tag.Regex).FindStringSubmatchIndex(name)
		if m == nil {
			continue
		}
		if m[4] < 0 || m[4] == m[5] {
			t.Errorf("%s matches %s with no value", tag.Name, name)
			continue
		}
		tags[tag.Name] = name[m[4]:m[5]]
		for i := m[2]; i < m[3]; i++ {
			cut[i] = true
		}
	}
	var rest strings.Builder
	for i := range name {
		if !cut[i] {
			rest.WriteByte(name[i])
		}
	}
	return tags, rest.String()
}

// prefixed makes tags of `part=value` pairs.
func prefixed(prefix string, pairs ...string) map[string]string {
	m := make(map[string]string)
	for _, p := range pairs {
		k, v, _ := strings.Cut(p, "=")
		m[prefix+k] = v
	}
	return m
}

func TestDestinationTags(t *testing.T) {
	t.Parallel()
	tests := map[string][]string{
		"pong.default.dc2.internal": {
			"service=pong", "namespace=default", "datacenter=dc2", "routing_type=internal", "target=pong.default.dc2",
		},
		"f8f8f8f8~pong.default.dc2.internal": {
			"custom_hash=f8f8f8f8", "service=pong", "namespace=default", "datacenter=dc2", "routing_type=internal",
			"target=f8f8f8f8~pong.default.dc2",
		},
		"v2.pong.default.dc2.internal": {
			"service_subset=v2", "service=pong", "namespace=default", "datacenter=dc2", "routing_type=internal",
			"target=v2.pong.default.dc2",
		},
		"f8f8f8f8~v2.pong.default.dc2.internal": {
			"custom_hash=f8f8f8f8", "service_subset=v2", "service=pong", "namespace=default", "datacenter=dc2",
			"routing_type=internal", "target=f8f8f8f8~v2.pong.default.dc2",
		},
		"passthrough~pong.default.dc2.internal": {
			"service=pong", "namespace=default", "datacenter=dc2", "routing_type=internal", "target=pong.default.dc2",
		},
		"pong.default.partA.dc2.internal-v1": {
			"service=pong", "namespace=default", "partition=partA", "datacenter=dc2", "routing_type=internal-v1",
			"target=pong.default.partA.dc2",
		},
		"f8f8f8f8~pong.default.partA.dc2.internal-v1": {
			"custom_hash=f8f8f8f8", "service=pong", "namespace=default", "partition=partA", "datacenter=dc2",
			"routing_type=internal-v1", "target=f8f8f8f8~pong.default.partA.dc2",
		},
		"v2.pong.default.partA.dc2.internal-v1": {
			"service_subset=v2", "service=pong", "namespace=default", "partition=partA", "datacenter=dc2",
			"routing_type=internal-v1", "target=v2.pong.default.partA.dc2",
		},
		"f8f8f8f8~v2.pong.default.partA.dc2.internal-v1": {
			"custom_hash=f8f8f8f8", "service_subset=v2", "service=pong", "namespace=default", "partition=partA",
			"datacenter=dc2", "routing_type=internal-v1", "target=f8f8f8f8~v2.pong.default.partA.dc2",
		},
		"passthrough~pong.default.partA.dc2.internal-v1": {
			"service=pong", "namespace=default", "partition=partA", "datacenter=dc2", "routing_type=internal-v1",
			"target=pong.default.partA.dc2",
		},
		"pong.default.cloudpeer.external": {
			"service=pong", "namespace=default", "peer=cloudpeer", "routing_type=external", "target=pong.default.cloudpeer",
		},
		"pong.default.partA.cloudpeer.external": {
			"service=pong", "namespace=default", "peer=cloudpeer", "routing_type=external",
			"target=pong.default.partA.cloudpeer",
		},
		"pq.default.dc1.query": {
			"service=pq", "namespace=default", "routing_type=query", "target=pq.default.dc1",
		},
		"failover-target~0~v1.hapi.default.dc1.internal": {
			"service_subset=v1", "service=hapi", "namespace=default", "datacenter=dc1", "routing_type=internal",
			"target=failover-target~0~v1.hapi.default.dc1",
		},
		"failover-target~1~e5b662bd~v2.hapi.default.dc1.internal": {
			"custom_hash=e5b662bd", "service_subset=v2", "service=hapi", "namespace=default", "datacenter=dc1",
			"routing_type=internal", "target=failover-target~1~e5b662bd~v2.hapi.default.dc1",
		},
		"destination.192-0-2-7.ext3.default.dc1.internal": {
			"service=ext3", "namespace=default", "datacenter=dc1", "routing_type=internal",
			"target=destination.192-0-2-7.ext3.default.dc1",
		},
		"destination.default.dc1.internal": {
			"service=destination", "namespace=default", "datacenter=dc1", "routing_type=internal",
			"target=destination.default.dc1",
		},
		"internal.external.consul.internal": {
			"service=internal", "namespace=external", "datacenter=consul", "routing_type=internal",
			"target=internal.external.consul",
		},
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			full := strings.TrimPrefix(name, "passthrough~") + "." + td
			wantTags := prefixed("consul.destination.", append(want, "trust_domain="+td, "full_target="+full)...)
			for _, metric := range []string{"bind_errors", "external.upstream_rq_200", "ext_authz.svc.denied"} {
				tags, rest := extract(t, "cluster."+name+"."+td+".consul."+metric)
				if !maps.Equal(tags, wantTags) {
					t.Errorf("%s:\ngot  %v\nwant %v", metric, tags, wantTags)
				}
				wantRest := "cluster." + metric
				if strings.HasPrefix(name, "passthrough~") {
					wantRest = "cluster.passthrough~" + metric
				}
				if rest != wantRest {
					t.Errorf("rest %q, want %q", rest, wantRest)
				}
			}
		})
	}
}

func TestUpstreamTags(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		want []string
		rest string
	}{
		"tcp.upstream.db.dc1.downstream_cx_total": {
			[]string{"service=db", "datacenter=dc1"}, "tcp.upstream.downstream_cx_total",
		},
		"http.upstream.web.frontend.dc1.downstream_cx_total": {
			[]string{"service=web", "namespace=frontend", "datacenter=dc1"}, "http.upstream.downstream_cx_total",
		},
		"http.upstream.web.frontend.west.dc1.downstream_cx_total": {
			[]string{"service=web", "namespace=frontend", "partition=west", "datacenter=dc1"},
			"http.upstream.downstream_cx_total",
		},
		"http.upstream.api.default.default.dc1.tracing.random_sampling": {
			[]string{"service=api", "namespace=default", "partition=default", "datacenter=dc1"},
			"http.upstream.tracing.random_sampling",
		},
		"tcp.upstream_peered.db.cloudpeer.downstream_cx_total": {
			[]string{"service=db", "peer=cloudpeer"}, "tcp.upstream_peered.downstream_cx_total",
		},
		"http.upstream_peered.web.frontend.cloudpeer.downstream_cx_total": {
			[]string{"service=web", "namespace=frontend", "peer=cloudpeer"}, "http.upstream_peered.downstream_cx_total",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tags, rest := extract(t, name)
			if want := prefixed("consul.upstream.", tt.want...); !maps.Equal(tags, want) {
				t.Errorf("got  %v\nwant %v", tags, want)
			}
			if rest != tt.rest {
				t.Errorf("rest %q, want %q", rest, tt.rest)
			}
		})
	}
}

func TestOtherNamesHaveNoTags(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"cluster.local_app.upstream_cx_total",
		"cluster.consul-dataplane.upstream_rq_200",
		"cluster.original-destination.upstream_cx_total",
		"cluster.self_admin.http1.metadata_not_supported_error",
		"http.public_listener.downstream_rq_2xx",
		"http.envoy_prometheus_metrics.downstream_cx_total",
		"http.upstream.prepared_query_pq.downstream_cx_total",
		"tcp.upstream.original-destination.downstream_cx_total",
		"listener.0.0.0.0_20200.downstream_cx_total",
		"server.live",
	} {
		if tags, rest := extract(t, name); len(tags) != 0 || rest != name {
			t.Errorf("%s: %v, rest %q", name, tags, rest)
		}
	}
}

func TestStatsTagOrder(t *testing.T) {
	t.Parallel()
	p := testParams(map[string]any{keyStatsTags: []any{"Canary", "consul.source.service=mine", "empty="}})
	p.Datacenter = ""
	got := mustBuild(t, testConfig(), p).GetStatsConfig()
	var names []string
	for _, tag := range got.GetStatsTags() {
		names = append(names, tag.GetTagName()+"="+tag.GetFixedValue())
	}
	first, last := names[:3], names[len(names)-3:]
	if want := []string{"canary=1", "consul.source.service=mine", "empty="}; !slices.Equal(first, want) {
		t.Errorf("first %q, want %q", first, want)
	}
	want := []string{"local_cluster=web", "consul.source.namespace=default", "consul.source.partition=default"}
	if !slices.Equal(last, want) {
		t.Errorf("last %q, want %q", last, want)
	}
	if len(names) != 3+11+5+3 {
		t.Errorf("%d tags: %q", len(names), names)
	}
	if !got.GetUseAllDefaultTags().GetValue() {
		t.Error("use_all_default_tags is off")
	}
}
