// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		err         error
		kind, words string
	}{
		"refused connection": {
			status.Error(codes.Unavailable, `connection error: desc = "transport: Error while dialing: dial tcp 10.0.0.1:8502: connect: connection refused"`),
			"connection_refused", "connection refused; nothing listens there (dial tcp 10.0.0.1:8502: connect: connection refused)"},
		"wrapped": {
			fmt.Errorf("fetching: %w", status.Error(codes.Unauthenticated, "ACL not found")),
			kindRefused, "the server refuses the credentials: ACL not found"},
		"canceled":      {fmt.Errorf("x: %w", context.Canceled), kindCanceled, "canceled"},
		"canceled call": {status.Error(codes.Canceled, "x"), kindCanceled, "canceled"},
		"deadline":      {status.Error(codes.DeadlineExceeded, "x"), kindSilent, "no answer in time"},
		"rate":          {status.Error(codes.ResourceExhausted, "rate limit exceeded"), kindRateLimited, "the server is at its limit: rate limit exceeded"},
		"streams":       {status.Error(codes.ResourceExhausted, "this server has too many xDS streams open, please try another"), kindRateLimited, "the server has too many xDS streams (this server has too many xDS streams open, please try another)"},
		"internal":      {status.Error(codes.Internal, "boom"), "internal", "boom (Internal)"},
		"unavailable":   {status.Error(codes.Unavailable, "no leader"), "unavailable", "no leader"},
		"plain":         {errors.New("boom"), "other", "boom"},
		"bad quoting":   {status.Error(codes.Unavailable, `connection error: desc = "a \q b"`), "unavailable", `a \q b`},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := explain(test.err); got.kind != test.kind || got.words != test.words {
				t.Errorf("got %q, %q", got.kind, got.words)
			}
		})
	}
}

// What servers say comes from outside: it must always be put in some words.
func FuzzExplain(f *testing.F) {
	f.Add(uint32(14), `connection error: desc = "transport: Error while dialing: dial tcp: i/o timeout"`)
	f.Add(uint32(14), `desc = "desc = \"desc = `)
	f.Fuzz(func(t *testing.T, code uint32, message string) {
		code %= 17
		if code == 0 {
			return
		}
		tr := explain(status.Error(codes.Code(code), message))
		if tr.kind == "" || strings.ContainsAny(tr.kind, " \"\n") {
			t.Errorf("kind %q", tr.kind)
		}
	})
}

func TestRedact(t *testing.T) {
	t.Parallel()
	if got := redact("token abc, abc", "", "abc"); got != "token [secret], [secret]" {
		t.Error(got)
	}
}

func TestLimiter(t *testing.T) {
	t.Parallel()
	var l limiter
	now := time.Now()
	for i, step := range []struct {
		after time.Duration
		kind  string
		want  bool
	}{{0, "a", true}, {time.Second, "a", false}, {2 * time.Second, "b", true}, {3 * time.Second, "b", false}, {40 * time.Second, "b", true}} {
		if got := l.allow(step.kind, now.Add(step.after), 30*time.Second); got != step.want {
			t.Errorf("step %d: %t", i, got)
		}
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	b := backoff{first: 100, limit: 350}
	for range 2 {
		for _, full := range []time.Duration{100, 200, 350, 350} {
			if d := b.delay(); d < full/2 || d > full {
				t.Errorf("%d is not in %d to %d", d, full/2, full)
			}
		}
		b.reset()
	}
}
