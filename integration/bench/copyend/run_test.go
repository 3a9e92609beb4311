// SPDX-License-Identifier: MPL-2.0

package copyend

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestRelayCopiesBothWays sends through it to a server that answers with the same.
func TestRelayCopiesBothWays(t *testing.T) {
	t.Parallel()
	echo, entry := listen(t), listen(t)
	served := make(chan error, 2)
	go func() {
		conn, err := echo.Accept()
		if err == nil {
			_, err = io.Copy(conn, conn)
			_ = conn.Close()
		}
		served <- err
	}()
	go func() {
		conn, err := entry.Accept()
		if err == nil {
			err = Relay(t.Context(), conn, echo.Addr().String())
		}
		served <- err
	}()
	client, err := net.Dial("tcp", entry.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte("0123456789abcdef"), bufferSize/4)
	sent := make(chan error, 1)
	go func() {
		_, err := client.Write(want)
		sent <- err
	}()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(client, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("what came back is not what was sent")
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	for _, ch := range []chan error{sent, served, served} {
		if err := <-ch; err != nil {
			t.Error(err)
		}
	}
}

func TestRelayEndsWithItsContext(t *testing.T) {
	t.Parallel()
	silent, entry := listen(t), listen(t)
	client, err := net.Dial("tcp", entry.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	in, err := entry.Accept()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Relay(ctx, in, silent.Addr().String()) }()
	conn, err := silent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}
