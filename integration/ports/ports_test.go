// SPDX-License-Identifier: MPL-2.0

package ports

import (
	"net"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func reserve(t *testing.T, n int, addresses ...string) *Block {
	t.Helper()
	b, err := Reserve(n, addresses...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Release)
	return b
}

func TestReserveBounds(t *testing.T) {
	t.Parallel()
	for _, n := range []int{-1, 0, Max + 1} {
		if b, err := Reserve(n); err == nil {
			b.Release()
			t.Errorf("%d ports were reserved", n)
		}
	}
	for _, n := range []int{1, Max} {
		b := reserve(t, n)
		for range n {
			if port := b.Next(); port < first || port >= last {
				t.Errorf("port %d is out of the range", port)
			}
		}
	}
}

// Blocks of every size, at other addresses too, never share a port.
func TestBlocksDoNotOverlap(t *testing.T) {
	t.Parallel()
	taken := map[int]bool{}
	for i := range 60 {
		n := 1 + i%Max
		addresses := [][]string{nil, {"127.0.0.2"}, {"127.0.0.1", "127.0.0.2", "127.0.0.3"}}[i%3]
		b := reserve(t, n, addresses...)
		for range n {
			port := b.Next()
			if taken[port] {
				t.Fatalf("port %d was given out twice", port)
			}
			taken[port] = true
		}
	}
}

func TestPortsCanBeBound(t *testing.T) {
	t.Parallel()
	b := reserve(t, 3)
	for range 3 {
		l, err := net.Listen("tcp", HostPort(loopback, b.Next()))
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
	}
}

func TestNextPanicsAtTheEnd(t *testing.T) {
	t.Parallel()
	b := reserve(t, 1)
	b.Next()
	defer func() {
		if recover() == nil {
			t.Error("a port was given out that was not reserved")
		}
	}()
	b.Next()
}

// It is not parallel: the others would take the block that it gives back.
func TestWhatIsTakenIsNotReserved(t *testing.T) {
	addresses := []string{"127.0.0.1", "127.0.0.2"}
	b := reserve(t, Max, addresses...)
	base := b.base - 1 // of the guard

	if again := reserveAt(base, 1, addresses); again != nil {
		again.Release()
		t.Fatal("a block was given out twice")
	}
	b.Release()
	b.Release() // once more does no harm
	tests := map[string]struct{ network, address string }{
		"tcp":               {"tcp", "127.0.0.1"},
		"udp":               {"udp", "127.0.0.1"},
		"a further address": {"udp", "127.0.0.2"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			release := hold(t, tt.network, HostPort(tt.address, base+Max))
			if again := reserveAt(base, Max, addresses); again != nil {
				again.Release()
				t.Error("a block with a taken port was given out")
			}
			again := reserveAt(base, Max-1, addresses) // without the port that is taken
			release()
			if again == nil {
				t.Fatal("the ports beside the taken one were not given out")
			}
			again.Release()
		})
	}
}

// hold binds an address until release is called.
func hold(t *testing.T, network, address string) (release func()) {
	t.Helper()
	if network == "udp" {
		conn, err := net.ListenPacket(network, address)
		if err != nil {
			t.Fatal(err)
		}
		return func() { _ = conn.Close() }
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	return func() { _ = l.Close() }
}

func TestAnAddressThatIsNotHere(t *testing.T) {
	t.Parallel()
	if b, err := Reserve(1, "192.0.2.1"); err == nil { // TEST-NET-1, RFC 5737
		b.Release()
		t.Error("ports of another machine were reserved")
	}
}
