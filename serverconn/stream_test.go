// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"context"
	"testing"

	"github.com/hashicorp/consul/proto-public/pbserverdiscovery"
)

// openStream opens a stream that the server holds open.
func openStream(t *testing.T, r *running) pbserverdiscovery.ServerDiscoveryService_WatchServersClient {
	t.Helper()
	stream, err := pbserverdiscovery.NewServerDiscoveryServiceClient(r.Conn()).
		WatchServers(t.Context(), &pbserverdiscovery.WatchServersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	return stream
}

// drainStream reads to the stream's end.
func drainStream(stream pbserverdiscovery.ServerDiscoveryService_WatchServersClient) error {
	for {
		if _, err := stream.Recv(); err != nil {
			return err
		}
	}
}

func TestStreamOfACallerThatLeaves(t *testing.T) {
	t.Parallel()
	c := newFakeConsul(t)
	r := start(t, plain(c))
	r.mustBeReady(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := pbserverdiscovery.NewServerDiscoveryServiceClient(r.Conn()).WatchServers(ctx, &pbserverdiscovery.WatchServersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := r.usable()
	if err != nil {
		t.Fatal(err)
	}
	open := func() int {
		e.mu.Lock()
		defer e.mu.Unlock()
		return len(e.streams)
	}
	if open() != 1 {
		t.Fatalf("%d streams on the books", open())
	}
	cancel()
	eventually(t, "stream off the books", func() bool { return open() == 0 })
}
