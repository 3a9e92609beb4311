// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/miekg/dns"
	"google.golang.org/grpc"
)

// unusedConn is a connection for tests that ask Consul nothing.
type unusedConn struct{ grpc.ClientConnInterface }

func TestBothTransportsShareAPort(t *testing.T) {
	t.Parallel()
	for range 20 {
		s := newServer(t, Config{Conn: unusedConn{}})
		udp, tcp := s.UDPAddr().(*net.UDPAddr), s.TCPAddr().(*net.TCPAddr)
		if udp.Port != tcp.Port || udp.Port == 0 || !udp.IP.Equal(tcp.IP) {
			t.Fatalf("udp %v, tcp %v", udp, tcp)
		}
	}
}

func TestTakenPort(t *testing.T) {
	t.Parallel()
	const host = "127.77.0.1:0" // where no other test takes a port
	l, err := net.Listen("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p, err := net.ListenPacket("udp", host)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, addr := range []string{l.Addr().String(), p.LocalAddr().String()} {
		_, err := New(Config{Addr: addr, Conn: unusedConn{}}, nil)
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%s: %v", addr, err)
		}
	}
	again, err := net.Listen("tcp", p.LocalAddr().String())
	if err != nil {
		t.Fatalf("the TCP port is still taken after a failure: %v", err)
	}
	_ = again.Close()
}

func TestBadConfig(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(empty, []byte("search x\nnameserver 127.0.0.1\nnameserver\nnameserver bad\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]Config{
		"no connection":       {Addr: "127.0.0.1:0"},
		"no address":          {Addr: "127.0.0.1", Conn: unusedConn{}},
		"recursor":            {Addr: "127.0.0.1:0", Conn: unusedConn{}, Recursors: []string{"dns.example"}},
		"no resolv.conf":      {Addr: "127.0.0.1:0", Conn: unusedConn{}, Recursors: []string{"system"}, ResolvConf: "/nonexistent"},
		"only itself":         {Addr: "127.0.0.1:0", Conn: unusedConn{}, Recursors: []string{"system"}, ResolvConf: empty},
		"only itself, wild":   {Addr: "0.0.0.0:0", Conn: unusedConn{}, Recursors: []string{"system"}, ResolvConf: empty},
		"address not of ours": {Addr: "192.0.2.1:0", Conn: unusedConn{}},
	} {
		if s, err := New(c, nil); err == nil {
			t.Errorf("%s: no error", name)
			_ = s.Close()
		}
	}
}

// TestWildcardAnswersFromTheAddressAsked has clients that take answers only
// from the address that they asked, which is not the one that the kernel would
// pick for a socket bound to all of them.
func TestWildcardAnswersFromTheAddressAsked(t *testing.T) {
	t.Parallel()
	tests := map[string][]string{
		"0.0.0.0:0": {"127.0.0.1", "127.0.0.2", "127.3.2.1"},
		"[::]:0":    {"127.0.0.2", "::1"},
	}
	for bind, hosts := range tests {
		_, conn := newFakeConsul(t, addressOf("10.0.0.1"))
		s, err := New(Config{Addr: bind, Conn: conn}, nil)
		if err != nil {
			t.Logf("%s: %v", bind, err)
			continue // a host without IPv6
		}
		run(t, s)
		_, port, _ := net.SplitHostPort(s.UDPAddr().String())
		packet, _ := question("api.service.consul.", dns.TypeA).Pack()
		for _, host := range hosts {
			for _, transport := range []string{"udp", "tcp"} {
				if exchangeRaw(t, transport, net.JoinHostPort(host, port), packet, patienceOfTests) == nil {
					t.Errorf("bound to %s, asked at %s over %s: no answer", bind, host, transport)
				}
			}
		}
	}
}

func TestSourceOfIgnoresWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	for name, note := range map[string][]byte{
		"nothing": nil, "short": {1, 2, 3}, "other kind": syscall.UnixRights(0), "zeros": make([]byte, 64),
	} {
		if got := sourceOf(note); got != nil {
			t.Errorf("%s: %x", name, got)
		}
	}
}

func TestCloseWithoutRun(t *testing.T) {
	t.Parallel()
	s := newServer(t, Config{Conn: unusedConn{}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := New(Config{Addr: s.UDPAddr().String(), Conn: unusedConn{}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := again.Run(ctx); err != nil {
		t.Error(err)
	}
}
