// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// statsConfig is envoy.config.metrics.v3.StatsConfig.
type statsConfig struct {
	StatsTags         []statsTag `json:"stats_tags"`
	UseAllDefaultTags bool       `json:"use_all_default_tags"`
}

// statsTag is envoy.config.metrics.v3.TagSpecifier: a fixed value, or a regular expression whose first group is cut out
// of the statistic's name and whose second is the tag's value.
type statsTag struct {
	Name       string  `json:"tag_name"`
	Regex      string  `json:"regex,omitempty"`
	FixedValue *string `json:"fixed_value,omitempty"`
}

func fixedTag(name, value string) statsTag { return statsTag{Name: name, FixedValue: &value} }

// parseStatsTag reads an element of envoy_stats_tags: `key=value`, or `key` for the value 1.
func parseStatsTag(s string) (statsTag, error) {
	key, value, found := strings.Cut(s, "=")
	if key == "" {
		return statsTag{}, errors.New("tag " + clip(s) + " has no name")
	}
	if !found {
		value = "1"
	}
	return fixedTag(strings.ToLower(key), value), nil
}

// newStatsConfig gives the operator's own configuration if there is one, else the tags in the order that decides which
// of them sees a name first: the operator's, ours from names, the fixed ones.
func newStatsConfig(p Params, pc proxyConfig) any {
	if pc.statsConfig != nil {
		return pc.statsConfig
	}
	tags := slices.Clone(pc.statsTags)
	tags = append(tags, destinationTags()...)
	tags = append(tags, upstreamTags()...)
	return statsConfig{StatsTags: append(tags, ownTags(p, pc)...), UseAllDefaultTags: true}
}

// ownTags are the tags that tell whose proxy this is, but for those that are empty or that the operator has set.
func ownTags(p Params, pc proxyConfig) []statsTag {
	var tags []statsTag
	for _, t := range sourceTags(p) {
		named := func(other statsTag) bool { return other.Name == t.Name }
		if *t.FixedValue != "" && !slices.ContainsFunc(pc.statsTags, named) {
			tags = append(tags, t)
		}
	}
	return tags
}

// FixedTags gives the tags, as `name:value`, that are on each of Envoy's statistics: the operator's, and whose proxy this
// is. podplane's own metrics carry them where they are pushed with tags, since many pods push to one server. It fails as
// [ReadTelemetry] does, and gives none with the central configuration off.
func FixedTags(cfg Config, p Params) ([]string, error) {
	pc, err := readProxyConfig(cfg.withDefaults(), p)
	if err != nil {
		return nil, fmt.Errorf("read proxy config: %w", err)
	}
	if !cfg.UseCentralConfig {
		return nil, nil
	}
	var list []string
	for _, t := range slices.Concat(pc.statsTags, ownTags(p, pc)) {
		list = append(list, t.Name+":"+*t.FixedValue)
	}
	return list, nil
}

// sourceTags tell whose proxy this is.
func sourceTags(p Params) []statsTag {
	return []statsTag{
		fixedTag("local_cluster", p.source()),
		fixedTag("consul.source.service", p.source()),
		fixedTag("consul.source.namespace", p.namespace()),
		fixedTag("consul.source.partition", p.partition()),
		fixedTag("consul.source.datacenter", p.Datacenter),
	}
}
