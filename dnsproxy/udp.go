// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

const (
	// batchSize is how many packets one system call reads or writes at most.
	batchSize = 32
	// maxPacket is how much of a packet is read. A query has a name, of 255
	// bytes, and options; what is longer than this is cut, and refused for that.
	maxPacket = 4 << 10
)

// batcher reads and writes several packets with one system call (recvmmsg(2),
// sendmmsg(2)).
type batcher interface {
	ReadBatch(packets []ipv4.Message, flags int) (int, error)
	WriteBatch(packets []ipv4.Message, flags int) (int, error)
}

// udpSocket is a UDP socket that answers from the address that was asked.
type udpSocket struct {
	*net.UDPConn
	batcher
	// oob is the room that the kernel's note of that address takes; 0 if the
	// socket is bound to one address.
	oob int
}

func listenUDP(addr *net.UDPAddr) (*udpSocket, error) {
	c, err := net.ListenUDP(network("udp", addr.IP), addr)
	if err != nil {
		return nil, err
	}
	u := &udpSocket{UDPConn: c, batcher: ipv6.NewPacketConn(c)}
	if c.LocalAddr().(*net.UDPAddr).IP.To4() != nil {
		u.batcher = ipv4.NewPacketConn(c)
	}
	_ = c.SetReadBuffer(udpBuffer) // as much as there is
	if addr.IP == nil || addr.IP.IsUnspecified() {
		if u.oob, err = notePacketInfo(c); err != nil {
			return nil, errors.Join(fmt.Errorf("ask for the packets' addresses: %w", err), c.Close())
		}
	}
	return u, nil
}

// lastReads is for how long packets are still read when Run ends: more than it
// takes to read all that have arrived by then.
const lastReads = 10 * time.Millisecond

// stopReading makes the reader return when it has read what is there, and lets
// answers out.
func (u *udpSocket) stopReading() { _ = u.SetReadDeadline(time.Now().Add(lastReads)) }

// room makes the space to read packets into.
func (u *udpSocket) room() []ipv4.Message {
	packets := make([]ipv4.Message, batchSize)
	for i := range packets {
		packets[i].Buffers = [][]byte{make([]byte, maxPacket)}
		packets[i].OOB = make([]byte, u.oob)
	}
	return packets
}

// readUDP reads packets until reading is done and the deadline of stopReading
// is over; answers are looked for under the context queries.
func (s *Server) readUDP(reading, queries context.Context) error {
	packets, out := s.udp.room(), &outbox{s: s}
	var pause backoff
	// Room that is not used costs as well, so that there is only as much as the
	// last read makes likely.
	for room := 1; ; {
		n, err := s.udp.ReadBatch(packets[:room], 0)
		switch {
		case err != nil && reading.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("read dns packets: %w", err)
		case err != nil:
			s.socketError("read", &pause, err)
			pause.wait(reading)
			continue
		}
		pause.reset()
		arrived := time.Now()
		for i := range packets[:n] {
			s.start(queries, requestOf(&packets[i], arrived), out)
		}
		out.flush()
		room = min(2*n, batchSize)
	}
}

// requestOf copies what is to outlive the packet's room.
func requestOf(p *ipv4.Message, arrived time.Time) request {
	return request{
		packet: bytes.Clone(p.Buffers[0][:p.N]), cut: p.Flags&syscall.MSG_TRUNC != 0,
		via: overUDP, arrived: arrived, from: returnPath{to: p.Addr, oob: sourceOf(p.OOB[:p.NN])},
	}
}

// returnPath is where an answer over UDP goes, and from which address.
type returnPath struct {
	to  net.Addr
	oob []byte
}

func (p returnPath) answer(m message, out *outbox) { out.add(m, p) }
func (p returnPath) done()                         {}

// outbox gathers answers over UDP, to send them together. It is for one
// goroutine, which must flush it.
type outbox struct {
	s       *Server
	packets []ipv4.Message
}

func (o *outbox) add(m message, p returnPath) {
	if len(o.packets) == batchSize {
		o.flush()
	}
	o.packets = append(o.packets, ipv4.Message{Buffers: [][]byte{m}, OOB: p.oob, Addr: p.to})
}

// flush sends what is there. What cannot be sent is passed over: it may be only
// this one client that cannot be reached.
func (o *outbox) flush() {
	for left := o.packets; len(left) > 0; {
		n, err := o.s.udp.send(left)
		if err != nil {
			o.s.unsent(left[0].Addr, err)
			n = 1
		} else {
			o.s.writeBad.Store(false)
		}
		left = left[n:]
	}
	clear(o.packets)
	o.packets = o.packets[:0]
}

// send sends the first of packets, and more if it can. It gives how many.
func (u *udpSocket) send(packets []ipv4.Message) (int, error) {
	if len(packets) > 1 {
		return u.WriteBatch(packets, 0)
	}
	_, _, err := u.WriteMsgUDP(packets[0].Buffers[0], packets[0].OOB, packets[0].Addr.(*net.UDPAddr))
	return 1, err // this takes less than a batch of one
}

// unsent counts answers that could not be sent, and logs the first of a row.
func (s *Server) unsent(to net.Addr, err error) {
	s.metrics.socketErrors.WithLabelValues("write").Inc()
	if s.writeBad.CompareAndSwap(false, true) {
		s.log.Warn("cannot send dns answers", "to", to.String(), "error", err)
	}
}

// socketError counts an error that will pass, and logs the first of a row.
func (s *Server) socketError(operation string, pause *backoff, err error) {
	s.metrics.socketErrors.WithLabelValues(operation).Inc()
	if pause.first() {
		s.log.Warn("dns socket error, going on", "operation", operation, "error", err)
	}
}
