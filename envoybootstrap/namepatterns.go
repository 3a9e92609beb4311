// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

// Envoy names the statistics of a cluster after it, and Consul names clusters
//
//	[hash~][subset.]service.namespace.datacenter.internal.trust-domain.consul
//	[hash~][subset.]service.namespace.partition.datacenter.internal-v1.trust-domain.consul
//	service.namespace.[partition.]peer.external.trust-domain.consul
//	destination.address.service.namespace.datacenter.internal.trust-domain.consul
//	query.namespace.datacenter.query.trust-domain.consul
//
// with `passthrough~` in front where transparent proxies dial an instance directly.
//
// Seen from the end, places are certain. Seen from the front they are not: only the routing type tells whether four
// segments before it begin with a subset or hold a partition. A partition is there exactly if it is internal-<version>;
// and external names have no subset. Hence what is counted from the front matches a subset as late as possible (??),
// and an alternation over the routing types decides.
//
// What a name lacks must make its tag's expression fail. An empty second group would give the tag an empty value, or,
// with Envoy's RE2 matcher, the whole of the first group.
const (
	seg = `[^.]+`                  // a segment
	val = `([^.]+)`                // a segment that is the tag's value
	dot = `\.`                     // between segments
	end = dot + seg + `\.consul\.` // trust domain and domain

	clusterStart = `^cluster\.(?:passthrough~)?`
	maybeHash    = `(?:` + seg + `~)?` // also failover-target~0~, alone and before a hash
	hash         = `([0-9a-f]{8})`     // of an upstream's overrides; the digits tell it from the other prefixes
	maybeDest    = `(?:destination\.` + seg + dot + `)?`
	maybeSubset  = `(?:` + seg + dot + `)??`
	maybePart    = `(?:` + seg + dot + `)?`

	// front is what may stand before the service.
	front = maybeHash + maybeDest + maybeSubset

	// From behind the namespace to the routing type, for names that may have a subset, and for all.
	internalRest = seg + dot + seg + `\.internal-` + seg + `|` + seg + `\.internal`
	anyRest      = `(?:` + internalRest + `|` + maybePart + seg + `\.external|` + seg + dot + seg + `)`
)

// destinationTags take apart the names of upstream clusters.
func destinationTags() []statsTag {
	tag := func(part, pattern string) statsTag {
		return statsTag{Name: "consul.destination." + part, Regex: clusterStart + `(` + pattern + `)`}
	}
	return []statsTag{
		tag("custom_hash", maybeHash+hash+`~`+seg+`(?:\.`+seg+`){3,5}`+end),
		tag("service_subset", maybeHash+val+dot+seg+dot+seg+dot+`(?:`+internalRest+`)`+end),
		tag("service", front+val+dot+seg+dot+anyRest+end),
		tag("namespace", front+seg+dot+val+dot+anyRest+end),
		tag("partition", seg+`(?:\.`+seg+`){1,2}`+dot+val+dot+seg+`\.internal-`+seg+end),
		tag("datacenter", seg+`(?:\.`+seg+`){1,3}`+dot+val+`\.internal(?:-`+seg+`)?`+end),
		tag("peer", seg+`(?:\.`+seg+`){1,2}`+dot+val+`\.external`+end),
		tag("routing_type", seg+`(?:\.`+seg+`){2,4}`+dot+val+end),
		tag("trust_domain", seg+`(?:\.`+seg+`){3,5}`+dot+val+`\.consul\.`),
		tag("target", `(`+seg+`(?:\.`+seg+`){2,4})`+dot+seg+end),
		tag("full_target", `(`+seg+`(?:\.`+seg+`){4,6})`+`\.consul\.`),
	}
}

// upstreamTags take apart the names of upstream listeners:
//
//	<tcp|http>.upstream.service.[namespace.][partition.]datacenter.
//	<tcp|http>.upstream_peered.service.[namespace.]peer.
func upstreamTags() []statsTag {
	const (
		local  = `^(?:tcp|http)\.upstream\.`
		peered = `^(?:tcp|http)\.upstream_peered\.`
		either = `^(?:tcp|http)\.upstream(?:_peered)?\.`
	)
	tag := func(part, start, pattern string) statsTag {
		return statsTag{Name: "consul.upstream." + part, Regex: start + `(` + pattern + `)`}
	}
	return []statsTag{
		tag("service", either, val+`(?:\.`+seg+`){1,3}`+dot),
		tag("datacenter", local, seg+`(?:\.`+seg+`){0,2}`+dot+val+dot),
		tag("peer", peered, seg+`(?:\.`+seg+`)?`+dot+val+dot),
		tag("namespace", either, seg+dot+val+`(?:\.`+seg+`){1,2}`+dot),
		tag("partition", local, seg+dot+seg+dot+val+dot+seg+dot),
	}
}
