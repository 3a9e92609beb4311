// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/proto-public/pbdns"
	"github.com/miekg/dns"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestRepeatedWhenSettled: what an unknown token or a lost server has spoiled
// is asked again once that is over, and only then.
func TestRepeatedWhenSettled(t *testing.T) {
	t.Parallel()
	spoil := map[string]func(*dns.Msg) (*dns.Msg, error){
		"servfail": func(m *dns.Msg) (*dns.Msg, error) { return new(dns.Msg).SetRcode(m, dns.RcodeServerFailure), nil },
		"error":    func(*dns.Msg) (*dns.Msg, error) { return nil, status.Error(codes.Unavailable, "lost") },
	}
	for name, spoiled := range spoil {
		for _, changed := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				var settled atomic.Bool
				config := Config{Settle: func(_ context.Context, sent time.Time) bool {
					settled.Store(true)
					return changed && time.Since(sent) < time.Minute
				}}
				s, consul := start(t, config, func(_ context.Context, m *dns.Msg, _ pbdns.Protocol) (*dns.Msg, error) {
					if settled.Load() {
						return answerA(m, "10.0.0.1", 0), nil
					}
					return spoiled(m)
				})
				rcode, queries := dns.RcodeServerFailure, 1
				if changed {
					rcode, queries = dns.RcodeSuccess, 2
				}
				answer := ask(t, s, "udp", question("api.service.consul.", dns.TypeA))
				if answer.Rcode != rcode || consul.count() != queries {
					t.Errorf("%s after %d queries", dns.RcodeToString[answer.Rcode], consul.count())
				}
			})
		}
	}
}
