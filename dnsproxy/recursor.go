// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"
)

// recursorRounds is how often each recursor is asked: over UDP, queries get
// lost.
const recursorRounds = 2

// recursors ask resolvers of the network, over the transport that the query
// came by: where an answer is cut, the client will come back over TCP.
type recursors struct {
	addrs  []string
	perTry time.Duration
}

// newRecursors takes at least one address. timeout is what a query may take
// altogether.
func newRecursors(addrs []string, timeout time.Duration) *recursors {
	return &recursors{
		addrs:  addrs,
		perTry: timeout / time.Duration(recursorRounds*len(addrs)),
	}
}

// exchange asks one recursor after the other, until one gives an answer that
// another could not better.
func (r *recursors) exchange(ctx context.Context, q *query) (message, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("wait to query recursors: %w", ctx.Err())
	}
	var worse message
	var errs error
	for range recursorRounds {
		for _, addr := range r.addrs {
			answer, err := r.try(ctx, addr, q)
			switch {
			case ctx.Err() != nil && err != nil:
				return nil, fmt.Errorf("query recursors: %w", errors.Join(errs, err))
			case err != nil:
				errs = errors.Join(errs, err)
			case answer.rcode() == rcodeSuccess || answer.rcode() == rcodeNameError:
				return answer, nil
			default:
				worse = answer
			}
		}
		if worse != nil {
			return worse, nil
		}
	}
	return nil, fmt.Errorf("query recursors: %w", errs)
}

// try asks one recursor once. A random ID and, by the socket, a random port are
// what keeps strangers from answering in its place.
func (r *recursors) try(ctx context.Context, addr string, q *query) (message, error) {
	ctx, cancel := context.WithTimeout(ctx, r.perTry)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, q.transport.String(), addr)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	asked := *q
	asked.message = slices.Clone(q.message)
	_, _ = rand.Read(asked.message[:2])
	exchange := exchangeUDP
	if q.transport == overTCP {
		exchange = exchangeTCP
	}
	answer, err := exchange(conn, &asked)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", addr, err)
	}
	answer.setID(q.id())
	return answer, nil
}

// exchangeUDP passes over packets that do not answer the query.
func exchangeUDP(conn net.Conn, q *query) (message, error) {
	if _, err := conn.Write(q.message); err != nil {
		return nil, err
	}
	buf := make([]byte, max(q.maxAnswer, 4096))
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		if answer := message(buf[:n]); checkResponse(answer, q) == nil && sameQuestion(answer, q) {
			return slices.Clone(answer), nil
		}
	}
}

func exchangeTCP(conn net.Conn, q *query) (message, error) {
	if err := writeFrame(conn, q.message); err != nil {
		return nil, err
	}
	answer, err := readFrame(conn)
	if err != nil {
		return nil, err
	}
	if err := checkResponse(answer, q); err != nil {
		return nil, err
	}
	if !sameQuestion(answer, q) {
		return nil, errors.New("answer to another question")
	}
	return answer, nil
}

// writeFrame writes a message as TCP carries it (RFC 1035, section 4.2.2), in
// one write, so that it goes out in one packet.
func writeFrame(w io.Writer, m message) error {
	frame := make([]byte, 2, 2+len(m))
	binary.BigEndian.PutUint16(frame, uint16(len(m)))
	_, err := w.Write(append(frame, m...))
	return err
}

// readFrame reads a message that TCP carries.
func readFrame(r io.Reader) (message, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	m := make(message, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(r, m)
	return m, err
}
