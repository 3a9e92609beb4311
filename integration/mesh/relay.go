// SPDX-License-Identifier: MPL-2.0

package mesh

import (
	"context"
	"io"
	"net"
	"sync"
)

// Relay passes what connects to l on to the server's address until ctx ends. It
// closes l, and returns when no connection is left.
func Relay(ctx context.Context, l net.Listener, server string) {
	defer func() { _ = l.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var running sync.WaitGroup
	defer running.Wait()
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		running.Go(func() { splice(ctx, conn, server) })
	}
}

// splice carries bytes in both directions until one side ends.
func splice(ctx context.Context, client net.Conn, server string) {
	defer func() { _ = client.Close() }()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", server)
	if err != nil {
		return
	}
	var copying sync.WaitGroup
	end := func() { _ = client.Close(); _ = conn.Close() }
	stop := context.AfterFunc(ctx, end)
	defer stop()
	copying.Go(func() { _, _ = io.Copy(conn, client); end() })
	copying.Go(func() { _, _ = io.Copy(client, conn); end() })
	copying.Wait()
}
