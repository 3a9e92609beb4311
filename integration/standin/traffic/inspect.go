// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"
)

// hello is what can be learnt from the first bytes of a connection.
type hello struct {
	tls  bool
	sni  string
	alpn []string
}

// errInspected ends the pretended handshake once the ClientHello was read.
var errInspected = errors.New("inspected")

// inspect reads the first bytes until it is clear whether they are a TLS ClientHello and what it asks for. They are
// returned to be read again. A client that sends nothing in time is taken for plain text, as Envoy's tls_inspector does
// with continue_on_listener_filters_timeout; the error is that of the connection.
func inspect(ctx context.Context, c net.Conn, timeout time.Duration) (hello, []byte, error) {
	if timeout > 0 {
		if err := c.SetReadDeadline(time.Now().Add(timeout)); err != nil {
			return hello{}, nil, err
		}
		defer c.SetReadDeadline(time.Time{}) //nolint:errcheck // the next read will show it
	}
	first := make([]byte, 1)
	if _, err := io.ReadFull(c, first); err != nil {
		return hello{}, nil, err
	}
	const handshakeRecord = 0x16
	if first[0] != handshakeRecord {
		return hello{}, first, nil
	}
	var seen bytes.Buffer
	seen.Write(first)
	found := hello{tls: true}
	reader := &tapConn{Conn: c, in: io.MultiReader(bytes.NewReader(first), io.TeeReader(c, &seen))}
	pretended := tls.Server(reader, &tls.Config{
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			found.sni, found.alpn = h.ServerName, h.SupportedProtos
			return nil, errInspected
		},
	})
	err := pretended.HandshakeContext(ctx)
	if errors.Is(err, errInspected) {
		return found, seen.Bytes(), nil
	}
	var netErr net.Error
	if errors.As(err, &netErr) || errors.Is(err, io.EOF) {
		return hello{}, seen.Bytes(), err
	}
	return hello{}, seen.Bytes(), nil // not a ClientHello after all
}

// tapConn reads from in and writes nowhere, so that the pretended handshake cannot answer the client.
type tapConn struct {
	net.Conn
	in io.Reader
}

// Read implements net.Conn.
func (c *tapConn) Read(p []byte) (int, error) { return c.in.Read(p) }

// Write implements net.Conn.
func (c *tapConn) Write(p []byte) (int, error) { return len(p), nil }
