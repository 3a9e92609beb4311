// SPDX-License-Identifier: MPL-2.0

package config

import (
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

const unixScheme = "unix://"

// check says which texts a setting takes.
type check struct {
	// want completes "must be".
	want string
	ok   func(string) bool
	// clean, if set, gives a good text the form in which it is kept.
	clean func(string) string
}

func (c check) cleaned(s string) string {
	if c.clean == nil {
		return s
	}
	return c.clean(s)
}

// oneOf takes exactly the given texts.
func oneOf(allowed ...string) check {
	return check{
		want: orList(allowed),
		ok:   func(s string) bool { return slices.Contains(allowed, s) },
	}
}

// optional takes what c takes, and nothing at all.
func optional(c check) check {
	takes := c.ok
	c.ok = func(s string) bool { return s == "" || takes(s) }
	if clean := c.clean; clean != nil {
		c.clean = func(s string) string {
			if s == "" {
				return s
			}
			return clean(s)
		}
	}
	return c
}

// ipAddress takes an IP without a port. Names other than localhost are refused
// because Envoy does not resolve bind addresses.
func ipAddress() check {
	return check{want: "an IP address without a port, or localhost", clean: numeric, ok: func(s string) bool {
		_, err := netip.ParseAddr(numeric(s))
		return err == nil
	}}
}

// numeric turns localhost into what it stands for.
func numeric(s string) string {
	if s == "localhost" {
		return "127.0.0.1"
	}
	return s
}

// serverAddresses takes what go-netaddrs does, and refuses what it would only
// complain about much later: a port, a URL, several names.
func serverAddresses() check {
	return check{
		want: "an IP address, a DNS name or exec=COMMAND; the port goes into -grpc-port",
		ok: func(s string) bool {
			if command, ok := strings.CutPrefix(s, "exec="); ok {
				return strings.TrimSpace(command) != ""
			}
			if _, err := netip.ParseAddr(s); err == nil {
				return true
			}
			return s != "" && !strings.ContainsAny(s, "/:,@") && !hasSpace(s)
		},
	}
}

// xdsAddress takes a loopback IP or an absolute socket path.
func xdsAddress() check {
	// The kernel's sockaddr_un has room for 108 bytes with the final zero:
	// https://man7.org/linux/man-pages/man7/unix.7.html.
	const maxSocketPath = 107
	return check{
		want:  "a loopback IP address, or unix:// and an absolute path of at most 107 bytes",
		clean: numeric,
		ok: func(s string) bool {
			if path, ok := strings.CutPrefix(s, unixScheme); ok {
				return filepath.IsAbs(path) && len(path) > 1 && len(path) <= maxSocketPath && !strings.ContainsRune(path, 0)
			}
			return isLoopback(numeric(s))
		},
	}
}

// urlPath takes what can be matched as the whole path of a request.
func urlPath() check {
	return check{want: "a URL path that starts with / and has no query, braces or white space", ok: func(s string) bool {
		return strings.HasPrefix(s, "/") && !strings.ContainsAny(s, "?#{}") && !hasSpace(s)
	}}
}

// httpURL takes an absolute URL of a metrics endpoint.
func httpURL() check {
	return check{want: "an absolute http:// or https:// URL", ok: func(s string) bool {
		u, err := url.Parse(s)
		return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != ""
	}}
}

// cacheMode takes the values of [XDSServer].Cache.
func cacheMode() check {
	return check{want: "memory, off or the absolute path of a folder", ok: func(s string) bool {
		return s == CacheMemory || s == CacheOff || filepath.IsAbs(s)
	}}
}

// recursor takes a resolver and keeps it with its port.
func recursor() check {
	return check{
		want: "an IP address with or without a port ([::1]:53 for IPv6), or system",
		ok: func(s string) bool {
			if s == RecursorsSystem {
				return true
			}
			addr, err := parseRecursor(s)
			return err == nil && addr.Port() != 0
		},
		clean: func(s string) string {
			addr, err := parseRecursor(s)
			if err != nil {
				return s
			}
			return addr.String()
		},
	}
}

func parseRecursor(s string) (netip.AddrPort, error) {
	const dnsPort = 53
	if ip, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(ip, dnsPort), nil
	}
	return netip.ParseAddrPort(s)
}

func isLoopback(s string) bool {
	ip, err := netip.ParseAddr(s)
	return err == nil && ip.Unmap().IsLoopback()
}

func hasSpace(s string) bool { return strings.ContainsFunc(s, unicode.IsSpace) }

// hidePasswords blots out what may be user and password in a list of URLs: all
// from the first scheme to the last @. It does not parse them, because it is also
// for texts that are refused as URLs, and does not look for the commas between
// them, because a password may hold one. A host more or less is worth that.
func hidePasswords(s string) string {
	const scheme = "://"
	start, end := strings.Index(s, scheme), strings.LastIndexByte(s, '@')
	if start < 0 || end < start {
		return s
	}
	return s[:start+len(scheme)] + redacted + s[end:]
}

// orList renders "a, b or c".
func orList(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// notEmpty takes any text but the empty one.
func notEmpty() check {
	return check{want: "something", ok: func(s string) bool { return s != "" }}
}
