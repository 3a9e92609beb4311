// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
)

// chainMatch is the criteria of one filter chain.
type chainMatch struct {
	port      uint16
	prefixes  []netip.Prefix
	names     []string
	transport string
	alpn      []string
	sources   []netip.Prefix
	ports     []uint32
}

func newChainMatch(m *listenerv3.FilterChainMatch) (chainMatch, error) {
	out := chainMatch{
		port: uint16(m.GetDestinationPort().GetValue()), transport: m.GetTransportProtocol(),
		alpn: m.GetApplicationProtocols(), ports: m.GetSourcePorts(),
	}
	for _, name := range m.GetServerNames() {
		if strings.Contains(strings.TrimPrefix(name, "*."), "*") {
			return out, fmt.Errorf("error adding listener: partial wildcards are not supported in \"server_names\"")
		}
		out.names = append(out.names, strings.ToLower(name))
	}
	var err error
	if out.prefixes, err = prefixes(m.GetPrefixRanges()); err != nil {
		return out, err
	}
	out.sources, err = prefixes(m.GetSourcePrefixRanges())
	return out, err
}

func prefixes(ranges []*corev3.CidrRange) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, r := range ranges {
		p, err := cidr(r)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

func cidr(r *corev3.CidrRange) (netip.Prefix, error) {
	addr, err := netip.ParseAddr(r.GetAddressPrefix())
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("malformed IP address: %s", r.GetAddressPrefix())
	}
	bits := int(min(r.GetPrefixLen().GetValue(), uint32(addr.BitLen())))
	return netip.PrefixFrom(addr, bits).Masked(), nil
}

// chainInput is what a connection offers for the choice.
type chainInput struct {
	destination netip.AddrPort
	source      netip.AddrPort
	hello       hello
}

// score is how specific a match is, criterion by criterion in Envoy's order: port, address, server name, transport
// protocol, application protocol, source address, source port. Negative: no match.
// Source: https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/listener/v3/listener_components.proto
type score [7]int

func (m *chainMatch) score(in chainInput) (score, bool) {
	s := score{
		optional(m.port != 0, m.port == in.destination.Port()),
		longest(m.prefixes, in.destination.Addr()),
		m.scoreName(in.hello.sni),
		optional(m.transport != "", m.transport == transportProtocol(in.hello)),
		optional(len(m.alpn) > 0, slices.ContainsFunc(in.hello.alpn, func(p string) bool { return slices.Contains(m.alpn, p) })),
		longest(m.sources, in.source.Addr()),
		optional(len(m.ports) > 0, slices.Contains(m.ports, uint32(in.source.Port()))),
	}
	for _, part := range s {
		if part < 0 {
			return s, false
		}
	}
	return s, true
}

// optional is 0 where nothing is asked, 1 where it is and holds, -1 otherwise.
func optional(asked, holds bool) int {
	switch {
	case !asked:
		return 0
	case holds:
		return 1
	default:
		return -1
	}
}

// longest is one more than the length of the longest prefix that holds the address; 0 where there is none to hold.
func longest(prefixes []netip.Prefix, addr netip.Addr) int {
	if len(prefixes) == 0 {
		return 0
	}
	best := -1
	for _, p := range prefixes {
		if p.Contains(addr) {
			best = max(best, p.Bits()+1)
		}
	}
	return best
}

// scoreName prefers an exact name to a wildcard, and a long wildcard to a short one.
func (m *chainMatch) scoreName(sni string) int {
	if len(m.names) == 0 {
		return 0
	}
	best := -1
	sni = strings.ToLower(sni)
	for _, name := range m.names {
		switch suffix, wild := strings.CutPrefix(name, "*"); {
		case name == sni:
			best = max(best, 1<<16)
		case wild && strings.HasSuffix(sni, suffix) && len(sni) > len(suffix):
			best = max(best, len(suffix))
		}
	}
	return best
}

func transportProtocol(h hello) string {
	if h.tls {
		return "tls"
	}
	return "raw_buffer"
}

// choose finds the chain whose match is the most specific, or the default one, or nil.
func choose(chains []*filterChain, otherwise *filterChain, in chainInput) *filterChain {
	best, bestScore := otherwise, score{-1}
	for _, c := range chains {
		s, ok := c.match.score(in)
		if ok && slices.Compare(s[:], bestScore[:]) > 0 {
			best, bestScore = c, s
		}
	}
	return best
}
