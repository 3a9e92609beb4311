// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// downstream is one accepted connection and all that filters may want to know of it.
type downstream struct {
	id      uint64
	conn    net.Conn // as the filters see it: after TLS
	chain   *filterChain
	started time.Time
	remote  netip.AddrPort
	local   netip.AddrPort // the original destination where a listener filter restored it
	sni     string
	tls     *tls.ConnectionState // nil in plain text

	clusterOverride string // by sni_cluster
	received, sent  atomic.Int64
	flags           string // response flags, for the access log
	details         string
	upstream        string // address of the chosen endpoint
	cluster         string
	failure         string // transport failure of the upstream
}

// peer is the client's certificate, or nil.
func (d *downstream) peer() *x509.Certificate {
	if d.tls == nil || len(d.tls.PeerCertificates) == 0 {
		return nil
	}
	return d.tls.PeerCertificates[0]
}

// principals are the names by which Envoy's RBAC knows an authenticated peer: the URIs of its certificate, else the DNS
// names, else the subject.
func (d *downstream) principals() []string {
	c := d.peer()
	if c == nil {
		return nil
	}
	var names []string
	for _, u := range c.URIs {
		names = append(names, u.String())
	}
	if len(names) == 0 {
		names = c.DNSNames
	}
	if len(names) == 0 {
		names = []string{c.Subject.String()}
	}
	return names
}

// ownedConn is a downstream connection that tells its owner once when it closes, and counts its bytes.
type ownedConn struct {
	net.Conn
	info   *downstream
	closed func()
	once   sync.Once
	replay []byte // read ahead by an inspector
}

// Read implements net.Conn; what an inspector took comes first.
func (c *ownedConn) Read(p []byte) (int, error) {
	if len(c.replay) > 0 {
		n := copy(p, c.replay)
		c.replay = c.replay[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// Close implements net.Conn.
func (c *ownedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.closed)
	return err
}

// CloseWrite passes an end of data on.
func (c *ownedConn) CloseWrite() error { return closeWrite(c.Conn) }

// meteredConn counts the bytes that filters see, and lets some of them judge when the first data arrives, before
// anything else sees it.
type meteredConn struct {
	net.Conn
	info  *downstream
	gates []func() error // an error ends the connection
}

// Read implements net.Conn.
func (c *meteredConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && c.gates != nil {
		gates := c.gates
		c.gates = nil
		for _, gate := range gates {
			if refused := gate(); refused != nil {
				_ = c.Close() // the refusal is the error that matters
				return 0, refused
			}
		}
	}
	c.info.received.Add(int64(n))
	return n, err
}

// Write implements net.Conn.
func (c *meteredConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.info.sent.Add(int64(n))
	return n, err
}

// CloseWrite passes an end of data on.
func (c *meteredConn) CloseWrite() error { return closeWrite(c.Conn) }
