// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// acceptTCP takes connections until reading is done; answers are looked for
// under the context queries.
func (s *Server) acceptTCP(reading, queries context.Context) error {
	var pause backoff
	for reading.Err() == nil {
		accepted, err := s.tcp.AcceptTCP()
		switch {
		case reading.Err() != nil:
			if err == nil {
				_ = accepted.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept dns connections: %w", err)
		case err != nil:
			s.socketError("accept", &pause, err)
			s.conns.evict() // most likely there is no descriptor left
			pause.wait(reading)
			continue
		}
		pause.reset()
		c := &conn{TCPConn: accepted, pipeline: make(chan struct{}, maxPipelined), failed: s.metrics.socketErrors.WithLabelValues("write")}
		if !s.conns.add(c) {
			s.metrics.rejections.WithLabelValues("connections").Inc()
			_ = c.Close()
			continue
		}
		s.tasks.Go(func() { s.serveConn(reading, queries, c) })
	}
	return nil
}

// serveConn reads queries until the client has no more of them or reading is
// done, and closes the connection when all have their answer.
func (s *Server) serveConn(reading, queries context.Context, c *conn) {
	s.metrics.connections.Inc()
	defer s.metrics.connections.Dec()
	defer func() { _ = c.Close() }()
	defer s.conns.remove(c)
	out := &outbox{s: s}       // stays empty
	for reading.Err() == nil { // what has arrived can be read even after CloseRead
		packet, err := c.receive()
		if err != nil {
			break
		}
		s.conns.used(c)
		c.pipeline <- struct{}{}
		s.start(queries, request{packet: packet, via: overTCP, arrived: time.Now(), from: c}, out)
	}
	for range cap(c.pipeline) { // until nobody holds a place any more
		c.pipeline <- struct{}{}
	}
}
