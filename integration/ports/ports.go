// SPDX-License-Identifier: MPL-2.0

package ports

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// The range that blocks come from: above the mesh's own ports, below the
// ephemeral ones, which begin at 32768
// (https://docs.kernel.org/networking/ip-sysctl.html, ip_local_port_range).
const (
	first = 22000
	last  = 32000
)

// All blocks begin at a multiple of the same number, however many ports were asked
// for: blocks of different sizes would overlap.
const (
	blockSize = 20
	// Max is how many ports one block has.
	Max = blockSize - 1
)

// loopback is the address whose ports are looked at if none is named, and the one
// at which guards listen: all must meet at the same.
const loopback = "127.0.0.1"

// Block is a run of ports that were free, over TCP and UDP, when it was reserved.
// It is for one goroutine at a time.
type Block struct {
	// guard holds the block: it listens on the port before the first one.
	guard net.Listener
	base  int
	size  int
	taken int
}

// Reserve finds n ports, 1 to [Max], that are free on each of the addresses (on
// 127.0.0.1 if there are none), the same ports on all. The caller must call
// [Block.Release] when the programs that use them have ended.
func Reserve(n int, addresses ...string) (*Block, error) {
	if n < 1 || n > Max {
		return nil, fmt.Errorf("reserve %d ports: want 1 to %d", n, Max)
	}
	if len(addresses) == 0 {
		addresses = []string{loopback}
	}
	const blocks = (last - first) / blockSize
	// A random start, so that processes that begin together seldom try the same.
	offset := rand.IntN(blocks)
	for i := range blocks {
		base := first + (offset+i)%blocks*blockSize
		if b := reserveAt(base, n, addresses); b != nil {
			return b, nil
		}
	}
	return nil, fmt.Errorf("reserve %d ports: no free block between %d and %d", n, first, last)
}

// reserveAt takes the block whose guard is at base, or gives nil.
func reserveAt(base, n int, addresses []string) *Block {
	guard, err := net.Listen("tcp", HostPort(loopback, base))
	if err != nil {
		return nil
	}
	if !free(addresses, base+1, n) {
		_ = guard.Close()
		return nil
	}
	return &Block{guard: guard, base: base + 1, size: n}
}

// Next gives the next port of the block. To ask for more than were reserved is a
// mistake of the caller's and panics.
func (b *Block) Next() int {
	if b.taken == b.size {
		panic(fmt.Sprintf("port block: all %d ports are given out", b.size))
	}
	b.taken++
	return b.base + b.taken - 1
}

// Release lets others have the block. It may be called more than once.
func (b *Block) Release() { _ = b.guard.Close() }

// HostPort joins an IP address and a port, as a dialer takes them.
func HostPort(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

func free(addresses []string, base, n int) bool {
	for _, address := range addresses {
		for port := base; port < base+n; port++ {
			if !bindable(HostPort(address, port)) {
				return false
			}
		}
	}
	return true
}

func bindable(address string) bool {
	tcp, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	udp, err := net.ListenPacket("udp", address)
	if err != nil {
		_ = tcp.Close()
		return false
	}
	return errors.Join(tcp.Close(), udp.Close()) == nil
}
