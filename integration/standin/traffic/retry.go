// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
)

// retryPolicy says which failures are tried again, and how often.
// Source: https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter
type retryPolicy struct {
	on       map[string]bool
	retries  uint32
	perTry   time.Duration // zero: none
	codes    []uint32
	base, to time.Duration // back-off
}

// retryConditions are those of x-envoy-retry-on and x-envoy-retry-grpc-on that are implemented.
const retryConditions = "5xx gateway-error reset reset-before-request connect-failure envoy-ratelimited retriable-4xx refused-stream " +
	"retriable-status-codes http3-post-connect-failure cancelled deadline-exceeded internal resource-exhausted unavailable"

func newRetryPolicy(p *routev3.RetryPolicy) (*retryPolicy, error) {
	if p == nil {
		return nil, nil
	}
	out := &retryPolicy{
		on: map[string]bool{}, retries: u32(p.GetNumRetries(), 1), perTry: duration(p.GetPerTryTimeout(), 0),
		codes: p.GetRetriableStatusCodes(), base: duration(p.GetRetryBackOff().GetBaseInterval(), 25*time.Millisecond),
	}
	out.to = duration(p.GetRetryBackOff().GetMaxInterval(), 10*out.base)
	if out.to < out.base {
		return nil, errors.New("retry_policy.max_interval must greater than or equal to the base_interval")
	}
	for on := range strings.SplitSeq(p.GetRetryOn(), ",") {
		on = strings.TrimSpace(on)
		if on == "" {
			continue
		}
		if !slices.Contains(strings.Fields(retryConditions), on) {
			return nil, fmt.Errorf("retry_on condition %q is not supported", on)
		}
		out.on[on] = true
	}
	return out, nil
}

// wants says whether the outcome of an attempt is to be tried again.
func (p *retryPolicy) wants(resp *http.Response, err error) bool {
	if err != nil {
		var connect *connectError
		switch {
		case errors.Is(err, errOverflow):
			return false
		case errors.As(err, &connect):
			return p.on["connect-failure"] || p.on["5xx"] || p.on["gateway-error"] || p.on["reset"]
		default:
			return p.on["reset"] || p.on["5xx"] || p.on["gateway-error"] || (p.on["refused-stream"] && refusedStream(err))
		}
	}
	code := resp.StatusCode
	switch {
	case p.on["5xx"] && code >= 500:
		return true
	case p.on["gateway-error"] && code >= 502 && code <= 504:
		return true
	case p.on["retriable-4xx"] && code == http.StatusConflict:
		return true
	case p.on["retriable-status-codes"] && slices.Contains(p.codes, uint32(code)):
		return true
	}
	return p.wantsGRPC(resp.Header.Get("Grpc-Status"))
}

// wantsGRPC judges a status in the response's headers; one in trailers comes too late for a retry.
func (p *retryPolicy) wantsGRPC(status string) bool {
	condition := map[string]string{
		"1": "cancelled", "4": "deadline-exceeded", "8": "resource-exhausted", "13": "internal", "14": "unavailable",
	}[status]
	return condition != "" && p.on[condition]
}

// pause is the jittered back-off before retry n, counted from 1.
func (p *retryPolicy) pause(n uint32) time.Duration {
	limit := min(p.base<<min(n, 20), p.to)
	return time.Duration(rand.Int64N(int64(max(limit, 1))))
}

// maxReplay is how much of a request body is kept for a retry: Envoy's default buffer limit.
const maxReplay = 1 << 20

// replayBody lets several attempts read one request body from its start. An attempt that was given up may still be
// reading while the next one begins; what it reads is kept for the other.
type replayBody struct {
	source io.ReadCloser

	mu   sync.Mutex
	kept []byte
	err  error // of the source, once it has one
	over bool  // more came than may be kept
}

// view returns a reader for one attempt.
func (b *replayBody) view() io.ReadCloser { return &replayView{body: b} }

// replayable says whether a further attempt would see the whole body.
func (b *replayBody) replayable() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.over
}

type replayView struct {
	body *replayBody
	pos  int

	mu     sync.Mutex
	closed bool
}

// Read implements io.Reader.
func (v *replayView) Read(p []byte) (int, error) {
	v.mu.Lock()
	closed := v.closed
	v.mu.Unlock()
	if closed {
		return 0, http.ErrBodyReadAfterClose
	}
	b := v.body
	b.mu.Lock()
	defer b.mu.Unlock()
	if v.pos < len(b.kept) {
		n := copy(p, b.kept[v.pos:])
		v.pos += n
		return n, nil
	}
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.source.Read(p)
	b.err = err
	if b.over = b.over || len(b.kept)+n > maxReplay; !b.over {
		b.kept = append(b.kept, p[:n]...)
		v.pos += n
	}
	return n, err
}

// Close ends this attempt's reading; the body itself stays open.
func (v *replayView) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
	return nil
}
