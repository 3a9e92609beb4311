// SPDX-License-Identifier: MPL-2.0

package integration

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// goResolver is Go's own resolver with a server in the place of resolv.conf's.
func goResolver(server string) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, network, server)
	}}
}

// lookups are what programs ask of a resolver.
var lookups = map[string]func(context.Context, *net.Resolver) ([]string, error){
	"host": func(ctx context.Context, r *net.Resolver) ([]string, error) {
		return r.LookupHost(ctx, "api.service.consul.")
	},
	"two hosts": func(ctx context.Context, r *net.Resolver) ([]string, error) {
		return r.LookupHost(ctx, "pair.service.consul.")
	},
	"IPv6": func(ctx context.Context, r *net.Resolver) ([]string, error) {
		return r.LookupHost(ctx, "six.service.consul.")
	},
	"virtual IP": func(ctx context.Context, r *net.Resolver) ([]string, error) {
		return r.LookupHost(ctx, "api.virtual.consul.")
	},
	"over TCP": func(ctx context.Context, r *net.Resolver) ([]string, error) {
		return r.LookupHost(ctx, "many.service.consul.")
	},
	"unknown": func(ctx context.Context, r *net.Resolver) ([]string, error) {
		return r.LookupHost(ctx, "nosuch.service.consul.")
	},
	"address": func(ctx context.Context, r *net.Resolver) ([]string, error) { return r.LookupAddr(ctx, "10.9.0.1") },
	"text": func(ctx context.Context, r *net.Resolver) ([]string, error) {
		return r.LookupTXT(ctx, "consultest-virtual.node.consul.")
	},
	"named": func(ctx context.Context, r *net.Resolver) ([]string, error) {
		name, err := r.LookupCNAME(ctx, "api.service.consul.")
		return []string{name}, err
	},
	"service": func(ctx context.Context, r *net.Resolver) ([]string, error) {
		_, found, err := r.LookupSRV(ctx, "api", "tcp", "service.consul.")
		var out []string
		for _, srv := range found {
			out = append(out, fmt.Sprint(*srv))
		}
		return out, err
	},
}

// compareResolvers has Go's resolver ask both servers.
func compareResolvers(ctx context.Context, t *testing.T, ours, theirs string) {
	t.Helper()
	for name, lookup := range lookups {
		want, wantErr := lookup(ctx, goResolver(theirs))
		got, gotErr := lookup(ctx, goResolver(ours))
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) || notFound(gotErr) != notFound(wantErr) || (gotErr == nil) != (wantErr == nil) {
			t.Errorf("%s: %v %v, want %v %v", name, got, gotErr, want, wantErr)
		}
		if unknown := name == "unknown"; notFound(gotErr) != unknown || (gotErr == nil) == unknown {
			t.Errorf("%s: %v %v", name, got, gotErr)
		}
	}
}

func notFound(err error) bool {
	var failed *net.DNSError
	return errors.As(err, &failed) && failed.IsNotFound
}

// digVaries is what is different in each output of dig, and the time in an SOA
// record.
var digVaries = regexp.MustCompile(`(?m), id: \d+|; COOKIE: .*$|(hostmaster\.consul\.) \d+`)

// compareDig has dig, the client of most bug reports, ask both servers.
func compareDig(ctx context.Context, t *testing.T, ours, theirs string) {
	t.Helper()
	if _, err := exec.LookPath("dig"); err != nil {
		t.Skip("dig is not installed, only Go's clients were used: `make dns-tools` installs it")
	}
	for _, option := range []string{"+notcp", "+tcp", "+noedns", "+bufsize=512"} {
		want, got := dig(ctx, t, theirs, option), dig(ctx, t, ours, option)
		if missing, added := without(want, got), without(got, want); missing != nil || added != nil {
			t.Errorf("%s: only of Consul:\n%s\nonly of the proxy:\n%s", option, strings.Join(missing, "\n"), strings.Join(added, "\n"))
		}
		if n := len(want); n < 10*len(dnsQuestions) {
			t.Errorf("%s: dig gave only %d lines", option, n)
		}
	}
}

// dig asks all questions in one run, and gives the lines of the output.
func dig(ctx context.Context, t *testing.T, server, option string) []string {
	t.Helper()
	host, port, err := net.SplitHostPort(server)
	must(t, err)
	args := []string{
		"@" + host, "-p", port, option, "+nocookie",
		"+noall", "+comments", "+question", "+answer", "+authority", "+additional",
	}
	for _, q := range dnsQuestions {
		args = append(args, q.Name, dns.Type(q.Qtype).String())
	}
	out, err := exec.CommandContext(ctx, "dig", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("dig: %v\n%s", err, out)
	}
	return strings.Split(digVaries.ReplaceAllString(string(out), "$1"), "\n")
}

// without gives the lines that are in a and not, or fewer times, in b. The order
// is nothing to compare: Consul deals instances at random.
func without(a, b []string) []string {
	left := map[string]int{}
	for _, line := range b {
		left[line]++
	}
	var out []string
	for _, line := range a {
		if left[line]--; left[line] < 0 {
			out = append(out, line)
		}
	}
	return out
}
