// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// udpSocket is a UDP socket that answers from the address that was asked.
type udpSocket struct {
	*net.UDPConn
	// oob is the room that the kernel's note of that address takes; 0 if the
	// socket is bound to one address.
	oob int
}

func listenUDP(addr *net.UDPAddr) (*udpSocket, error) {
	c, err := net.ListenUDP(network("udp", addr.IP), addr)
	if err != nil {
		return nil, err
	}
	u := &udpSocket{UDPConn: c}
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

// read gives a copy of the next packet and the way back.
func (u *udpSocket) read(buf, oob []byte) ([]byte, *returnPath, error) {
	n, noted, _, from, err := u.ReadMsgUDPAddrPort(buf, oob)
	if err != nil {
		return nil, nil, err
	}
	return bytes.Clone(buf[:n]), &returnPath{to: from, oob: sourceOf(oob[:noted])}, nil
}

// returnPath is where an answer goes, and from which address.
type returnPath struct {
	to  netip.AddrPort
	oob []byte
}

func (u *udpSocket) write(m message, p *returnPath) error {
	_, _, err := u.WriteMsgUDPAddrPort(m, p.oob, p.to)
	return err
}

// readUDP reads packets until reading is done and the deadline of stopReading
// is over; answers are looked for under the context queries.
func (s *Server) readUDP(reading, queries context.Context) error {
	buf, oob := make([]byte, 1<<16), make([]byte, s.udp.oob)
	var pause backoff
	for {
		packet, path, err := s.udp.read(buf, oob)
		switch {
		case err != nil && reading.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("read dns packets: %w", err)
		case err != nil:
			s.socketError("read", &pause, err)
			pause.wait(reading)
		default:
			pause.reset()
			s.start(queries, request{
				packet: packet, via: overUDP,
				send: func(answer message) { s.sendUDP(answer, path) },
				done: func() {},
			})
		}
	}
}

func (s *Server) sendUDP(answer message, path *returnPath) {
	err := s.udp.write(answer, path)
	if err == nil {
		s.writeBad.Store(false)
		return
	}
	s.metrics.socketErrors.WithLabelValues("write").Inc()
	if s.writeBad.CompareAndSwap(false, true) {
		s.log.Warn("cannot send dns answers", "to", path.to.String(), "error", err)
	}
}

// socketError counts an error that will pass, and logs the first of a row.
func (s *Server) socketError(operation string, pause *backoff, err error) {
	s.metrics.socketErrors.WithLabelValues(operation).Inc()
	if pause.first() {
		s.log.Warn("dns socket error, going on", "operation", operation, "error", err)
	}
}
