// SPDX-License-Identifier: MPL-2.0

package stats

import (
	"fmt"
	"regexp"
	"sort"
	"strings"

	metricsv3 "github.com/envoyproxy/go-control-plane/envoy/config/metrics/v3"
)

// Tag is a name and value taken out of a statistic's name.
type Tag struct {
	Name, Value string
}

// tagRule takes one tag out of a name. Its first group is cut out of the name; the value is the second group, or the
// first where there is no second.
type tagRule struct {
	name string
	re   *regexp.Regexp
}

// extractor turns full names into a name without tags, and tags.
type extractor struct {
	rules []tagRule
	fixed []Tag
}

// span is a part of a name, from start to before end.
type span struct{ start, end int }

// defaultRules are the tags that Envoy extracts by itself, as far as the stand-in has such statistics.
// Source: https://github.com/envoyproxy/envoy/blob/main/source/common/config/well_known_names.cc
func defaultRules() []tagRule {
	rule := func(name, re string) tagRule { return tagRule{name: "envoy." + name, re: regexp.MustCompile(re)} }
	return []tagRule{
		rule("response_code", `_rq(_(\d{3}))$`),
		rule("response_code_class", `_rq_(\d)xx$`),
		rule("ssl_cipher", `^listener\..*?\.ssl\.cipher(\.(.*?))$`),
		rule("cipher_suite", `^(?:cluster|listener)\..*?\.ssl\.ciphers(\.(.*?))$`),
		rule("ssl_version", `^(?:cluster|listener)\..*?\.ssl\.versions(\.(.*?))$`),
		rule("grpc_bridge_method", `^cluster\..*?\.grpc\..*\.((.*?)\.)\w+?$`),
		rule("grpc_bridge_service", `^cluster\..*?\.grpc\.((.*?)\.)`),
		rule("tcp_prefix", `^tcp\.((.*?)\.)\w+?$`),
		rule("cluster_name", `^cluster\.(([^.]+)\.).*`),
		rule("http_conn_manager_prefix", `^listener\..*?\.http\.((.*?)\.)`),
		rule("http_conn_manager_prefix", `^http\.((.*?)\.)`),
		rule("listener_address", `^listener\.((?:([_.[:digit:]]*|[_\[\]aAbBcCdDeEfF[:digit:]]*))\.)`),
		rule("connection_limit_prefix", `^connection_limit\.((.*?)\.)\w+?$`),
		rule("rds_route_config", `^http\..*?\.rds\.((.*?)\.)\w+?$`),
		rule("worker_id", `^listener_manager\.((worker_\d+)\.)`),
	}
}

// newExtractor compiles the defaults (unless use_all_default_tags is false) and the bootstrap's own tags after them.
func newExtractor(cfg *metricsv3.StatsConfig) (*extractor, error) {
	x := &extractor{}
	if use := cfg.GetUseAllDefaultTags(); use == nil || use.GetValue() {
		x.rules = defaultRules()
	}
	for _, spec := range cfg.GetStatsTags() {
		if err := x.add(spec); err != nil {
			return nil, err
		}
	}
	return x, nil
}

// add compiles one tag specifier. One with neither regex nor fixed value asks for a default tag by its name.
func (x *extractor) add(spec *metricsv3.TagSpecifier) error {
	name := spec.GetTagName()
	if spec.GetTagValue() == nil || (spec.GetRegex() == "" && spec.GetFixedValue() == "") {
		if _, fixed := spec.GetTagValue().(*metricsv3.TagSpecifier_FixedValue); fixed {
			x.fixed = append(x.fixed, Tag{Name: name})
			return nil
		}
		for _, rule := range defaultRules() {
			if rule.name == name {
				x.rules = append(x.rules, rule)
				return nil
			}
		}
		return fmt.Errorf("no regex specified for tag specifier and no default regex for name: '%s'", name)
	}
	if fixed, ok := spec.GetTagValue().(*metricsv3.TagSpecifier_FixedValue); ok {
		x.fixed = append(x.fixed, Tag{Name: name, Value: fixed.FixedValue})
		return nil
	}
	re, err := regexp.Compile(spec.GetRegex())
	if err != nil {
		return fmt.Errorf("tag %q: %w", name, err)
	}
	if re.NumSubexp() == 0 {
		return fmt.Errorf("tag %q: regex %q has no capture group", name, spec.GetRegex())
	}
	x.rules = append(x.rules, tagRule{name: name, re: re})
	return nil
}

// extract applies every rule to the full name and cuts what they matched. The first rule of a tag name that matches wins.
func (x *extractor) extract(full string) (string, []Tag) {
	tags := append([]Tag(nil), x.fixed...)
	var cuts []span
	seen := map[string]bool{}
	for _, rule := range x.rules {
		if seen[rule.name] {
			continue
		}
		m := rule.re.FindStringSubmatchIndex(full)
		if m == nil || m[2] < 0 {
			continue
		}
		value := full[m[2]:m[3]]
		if len(m) >= 6 && m[4] >= 0 {
			value = full[m[4]:m[5]]
		}
		if value == "" {
			continue
		}
		seen[rule.name] = true
		tags = append(tags, Tag{Name: rule.name, Value: value})
		cuts = append(cuts, span{m[2], m[3]})
	}
	return cut(full, cuts), tags
}

// cut removes the spans, which may overlap, from s.
func cut(s string, cuts []span) string {
	sort.Slice(cuts, func(i, j int) bool { return cuts[i].start < cuts[j].start })
	var b strings.Builder
	pos := 0
	for _, c := range cuts {
		if c.start > pos {
			b.WriteString(s[pos:c.start])
		}
		pos = max(pos, c.end)
	}
	b.WriteString(s[pos:])
	return b.String()
}
