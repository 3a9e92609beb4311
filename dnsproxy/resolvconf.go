// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
)

// errNoNameservers is for a resolver file that names nobody but this proxy.
var errNoNameservers = errors.New("no nameserver other than this proxy")

// expand gives the recursors' addresses, those of the system in their place.
func expand(recursors []string, resolvConf string, self netip.Addr) ([]string, error) {
	var out []string
	for _, r := range recursors {
		if r != SystemRecursors {
			if _, err := netip.ParseAddrPort(r); err != nil {
				return nil, fmt.Errorf("recursor %q: %w", r, err)
			}
			out = append(out, r)
			continue
		}
		text, err := os.ReadFile(resolvConf)
		if err != nil {
			return nil, fmt.Errorf("recursors of the system: %w", err)
		}
		found := nameservers(string(text), self)
		if len(found) == 0 {
			return nil, fmt.Errorf("recursors of the system: %s: %w", resolvConf, errNoNameservers)
		}
		out = append(out, found...)
	}
	return out, nil
}

// nameservers gives the "ip:53" of a resolv.conf(5), without the address that
// this proxy listens on: where it is the pod's resolver, it is in that file, at
// port 53 because something redirects that port to it, and it would ask itself.
func nameservers(text string, self netip.Addr) []string {
	var out []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		ip, err := netip.ParseAddr(fields[1])
		if err != nil || ip == self || self.IsUnspecified() && ip.IsLoopback() {
			continue
		}
		out = append(out, netip.AddrPortFrom(ip, 53).String())
	}
	return out
}
