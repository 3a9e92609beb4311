// SPDX-License-Identifier: MPL-2.0

package selfregister

import (
	"cmp"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// The statuses of a check.
const (
	Passing  = "passing"
	Warning  = "warning"
	Critical = "critical"
)

// The keys of the mark that a registration carries.
const (
	metaManagedBy = "managed-by"
	metaInstance  = "podplane-instance"
)

func (d *decoder) checkService(s *Definition, path string, e element, sidecar bool) {
	if s.Name == "" {
		d.fail(e.line, join(path, "name"), "is required")
	}
	for key, value := range map[string]string{"name": s.Name, "id": s.ID, "connect.sidecar_service.name": s.Sidecar.Name} {
		if !isPlain(value) {
			d.fail(e.line, join(path, key), "must be without white space and control characters")
		}
	}
	if !sidecar {
		d.fail(e.line, join(path, "connect.sidecar_service"), "is required, be it empty: podplane is that sidecar")
	}
	for key, value := range map[string]string{"address": s.Address, "connect.sidecar_service.address": s.Sidecar.Address} {
		if ip, err := netip.ParseAddr(value); err == nil && ip.IsUnspecified() {
			d.fail(e.line, join(path, key), "must be an address at which others reach the machine, not %s", value)
		} else if !isPlain(value) {
			d.fail(e.line, join(path, key), "must be an IP address or a DNS name")
		}
	}
	for key, meta := range map[string]map[string]string{"meta": s.Meta, "connect.sidecar_service.meta": s.Sidecar.Meta} {
		for _, own := range []string{metaManagedBy, metaInstance} {
			if _, taken := meta[own]; taken {
				d.fail(e.line, join(path, key+"."+own), "is a key that podplane marks its registrations with")
			}
		}
	}
	if mode := s.Sidecar.Proxy.Mode; !slices.Contains([]string{"", "direct", "transparent"}, mode) {
		d.fail(e.line, join(path, "connect.sidecar_service.proxy.mode"), "must be direct or transparent, not %q", mode)
	}
	all := slices.Concat(s.Checks, s.Sidecar.Checks)
	if len(all) > maxChecks {
		d.fail(e.line, join(path, "checks"), "must be at most %d", maxChecks)
	}
	d.checkIDs(s, join(path, "checks"), e)
}

// checkIDs finds checks of one ID, by the IDs that they are going to have: a node
// has one check of an ID, and each would overwrite what the other has found.
func (d *decoder) checkIDs(s *Definition, path string, e element) {
	ids := Definition{ID: cmp.Or(s.ID, s.Name)}
	taken := map[string]bool{readyCheck + ids.ID: true, readyCheck + ids.ProxyID(): true, appCheck + ids.ProxyID(): true}
	for id, checks := range map[string][]Check{ids.ID: s.Checks, ids.ProxyID(): s.Sidecar.Checks} {
		named := slices.Clone(checks)
		nameChecks(named, "service:"+id)
		for _, c := range named {
			if taken[c.ID] {
				d.fail(e.line, path, "two of them have the ID %q, given, by default or as podplane's own", c.ID)
			}
			taken[c.ID] = true
		}
	}
}

func (d *decoder) checkCheck(c *Check, path string, e element) {
	switch {
	case (c.HTTP == "") == (c.TCP == ""):
		d.fail(e.line, path, "must have exactly one of http and tcp")
	case c.HTTP != "":
		u, err := url.Parse(c.HTTP)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
			d.fail(e.line, join(path, "http"), "must be an absolute http:// or https:// URL")
		} else if u.User != nil {
			d.fail(e.line, join(path, "http"), "must be without user and password; use header")
		} else if _, err := http.NewRequest(c.method(), c.HTTP, http.NoBody); err != nil { //nolint:noctx // it is not sent
			d.fail(e.line, join(path, "method"), "is no HTTP method")
		}
	default:
		if host, port, err := net.SplitHostPort(c.TCP); err != nil || host == "" || port == "" {
			d.fail(e.line, join(path, "tcp"), "must be host:port")
		}
	}
	if c.Interval == 0 {
		d.fail(e.line, join(path, "interval"), `is required, such as "10s"`)
	}
	if !slices.Contains([]string{"", Passing, Warning, Critical}, c.Status) {
		d.fail(e.line, join(path, "status"), "must be passing, warning or critical, not %q", c.Status)
	}
	if !isPlain(c.ID) {
		d.fail(e.line, join(path, "id"), "must be without white space and control characters")
	}
}

// method is that of an HTTP check.
func (c *Check) method() string {
	if c.Method == "" {
		return http.MethodGet
	}
	return strings.ToUpper(c.Method)
}

// isPlain tells whether a text has only characters that can be seen.
func isPlain(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) })
}
