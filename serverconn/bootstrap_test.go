// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/proto-public/pbdataplane"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// answers makes the cluster give the errors of the list, then itself.
func answers(errs ...error) (func(*pbdataplane.GetEnvoyBootstrapParamsRequest) (*pbdataplane.GetEnvoyBootstrapParamsResponse, error), *atomic.Int32) {
	var calls atomic.Int32
	return func(r *pbdataplane.GetEnvoyBootstrapParamsRequest) (*pbdataplane.GetEnvoyBootstrapParamsResponse, error) {
		n := int(calls.Add(1)) - 1
		if n < len(errs) {
			return nil, errs[n]
		}
		return &pbdataplane.GetEnvoyBootstrapParamsResponse{Service: r.ProxyId, NodeName: r.GetNodeName() + r.GetNodeId()}, nil //nolint:staticcheck // servers before 1.16 send no identity
	}, &calls
}

func TestBootstrapParams(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		errs     []error
		refused  bool
		contains string // of the log, or of the error
	}{
		"at once":                    {},
		"not registered":             {errs: repeat(status.Error(codes.NotFound, "Service not found"), 4), contains: "waiting for the proxy to be registered"},
		"unavailable":                {errs: repeat(status.Error(codes.Unavailable, "leader election"), 2), contains: "waiting for the bootstrap parameters"},
		"token unknown for a moment": {errs: repeat(status.Error(codes.Unauthenticated, "ACL not found"), 1)},
		"server starts":              {errs: repeat(status.Error(codes.Unauthenticated, unready), 12)},
		"token refused":              {errs: repeat(status.Error(codes.PermissionDenied, "lacks permission 'service:read'"), 99), refused: true, contains: "service:read"},
		"question refused":           {errs: repeat(status.Error(codes.InvalidArgument, "Node ID or name required"), 99), contains: "Node ID or name required"},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newFakeConsul(t)
			c.bootstrap, _ = answers(test.errs...)
			r := start(t, plain(c))
			response, err := r.BootstrapParams(t.Context(), ProxyRef{ID: "web-proxy", NodeName: "node"})
			if got := errors.Is(err, ErrRefused); got != test.refused {
				t.Fatalf("refused: %t (%v)", got, err)
			}
			if len(test.errs) == 99 {
				if err == nil || !strings.Contains(err.Error(), test.contains) {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if response.Service != "web-proxy" || response.NodeName != "node" { //nolint:staticcheck // as above
				t.Errorf("response %v", response)
			}
			if test.contains != "" && strings.Count(r.log.String(), test.contains) != 1 {
				t.Errorf("%q is %d times in the log", test.contains, strings.Count(r.log.String(), test.contains))
			}
		})
	}
}

func TestBootstrapParamsEndsWithItsContext(t *testing.T) {
	t.Parallel()
	c := newFakeConsul(t)
	var calls *atomic.Int32
	c.bootstrap, calls = answers(repeat(status.Error(codes.NotFound, "Service not found"), 1000)...)
	r := start(t, plain(c))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := r.BootstrapParams(ctx, ProxyRef{ID: "web-proxy", NodeID: "id"})
		done <- err
	}()
	eventually(t, "questions", func() bool { return calls.Load() > 2 })
	if got := r.Status().BootstrapError; !strings.Contains(got, "Service not found") {
		t.Errorf("status says %q", got)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if got := r.Status().BootstrapError; got != "" {
		t.Errorf("still waits: %q", got)
	}
	short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	c.stop("127.0.0.1")
	idle := start(t, plain(c))
	if _, err := idle.BootstrapParams(short, ProxyRef{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	c.start(t, "127.0.0.1")
}

func repeat(err error, n int) []error {
	errs := make([]error, n)
	for i := range errs {
		errs[i] = err
	}
	return errs
}
