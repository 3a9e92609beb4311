// SPDX-License-Identifier: MPL-2.0

package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// backlog is how many programs, events and replies may wait to be taken. There
// are never more than a few.
const backlog = 64

// Listener takes the connections of programs.
type Listener struct {
	l       net.Listener
	arrived chan *Peer
	wg      sync.WaitGroup

	mu     sync.Mutex
	closed bool
	peers  []*Peer
}

// Listen binds the socket, for this user only by the folder that it is in.
func Listen(path string) (*Listener, error) {
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	s := &Listener{l: l, arrived: make(chan *Peer, backlog)}
	s.wg.Go(s.accept)
	return s, nil
}

func (s *Listener) accept() {
	for {
		conn, err := s.l.Accept()
		if err != nil {
			return // closed
		}
		p := &Peer{conn: conn, events: make(chan frame, backlog), replies: make(chan frame, backlog), gone: make(chan struct{})}
		s.mu.Lock()
		if s.closed {
			_ = conn.Close()
		}
		s.peers = append(s.peers, p)
		s.mu.Unlock()
		s.wg.Go(func() { p.read(s.arrived) })
	}
}

// Next waits for the next program that says hello. Those of other roles are an
// error: the benchmark starts one program at a time.
func (s *Listener) Next(ctx context.Context, role string) (*Peer, error) {
	select {
	case p := <-s.arrived:
		if p.hello.Role != role {
			return nil, fmt.Errorf("waited for the %s and got the %s", role, p.hello.Role)
		}
		return p, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the %s: %w", role, context.Cause(ctx))
	}
}

// Close hangs up on all programs, which ends them. It may be called again.
func (s *Listener) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	err := s.l.Close()
	for _, p := range s.peers {
		_ = p.conn.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
	return err
}

// Peers are all programs that have connected. It is for after Close: before, they may still have to say hello.
func (s *Listener) Peers() []*Peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.peers)
}

// Peer is a program as the benchmark sees it. It is for one goroutine at a time.
type Peer struct {
	conn    net.Conn
	hello   Hello
	events  chan frame
	replies chan frame
	gone    chan struct{} // closed when nothing more will come
}

// read sorts what the program says, and announces it after its hello.
func (p *Peer) read(arrived chan<- *Peer) {
	defer close(p.gone)
	defer func() { _ = p.conn.Close() }()
	for dec := json.NewDecoder(p.conn); ; {
		var f frame
		if dec.Decode(&f) != nil {
			return
		}
		var full bool
		switch f.Kind {
		case kindHello:
			if json.Unmarshal(f.Data, &p.hello) != nil {
				return
			}
			select {
			case arrived <- p:
			default:
				full = true
			}
		case kindEvent:
			full = !offer(p.events, f)
		case kindReply:
			full = !offer(p.replies, f)
		}
		if full {
			return // nobody takes what it says: it is not to block here
		}
	}
}

func offer(to chan<- frame, f frame) bool {
	select {
	case to <- f:
		return true
	default:
		return false
	}
}

// Hello is what the program has said of itself.
func (p *Peer) Hello() Hello { return p.hello }

// Gone is closed when the program has hung up or ended.
func (p *Peer) Gone() <-chan struct{} { return p.gone }

// Await waits for an event and gives its time. Others before it are dropped.
func (p *Peer) Await(ctx context.Context, event string) (at int64, err error) {
	for {
		f, err := p.take(ctx, p.events)
		if err != nil {
			return 0, fmt.Errorf("wait until the %s is %s: %w", p.hello.Role, event, err)
		}
		if f.Name == event {
			return f.At, nil
		}
	}
}

// Call has the program carry out a command and decodes what that gives. A call
// that is given up by ctx leaves the program of no use.
func (p *Peer) Call(ctx context.Context, command string, args, reply any) error {
	err := p.call(ctx, command, args, reply)
	if err != nil {
		return fmt.Errorf("have the %s %s: %w", p.hello.Role, command, err)
	}
	return nil
}

func (p *Peer) call(ctx context.Context, command string, args, reply any) error {
	raw, err := json.Marshal(args)
	if err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = p.conn.SetWriteDeadline(deadline)
		defer func() { _ = p.conn.SetWriteDeadline(time.Time{}) }()
	}
	if err := json.NewEncoder(p.conn).Encode(frame{Kind: kindCommand, Name: command, Data: raw}); err != nil {
		return err
	}
	f, err := p.take(ctx, p.replies)
	switch {
	case err != nil:
		return err
	case f.Error != "":
		return errors.New(f.Error)
	case reply == nil:
		return nil
	}
	return json.Unmarshal(f.Data, reply)
}

// take gives the next frame; what was said before the end still counts.
func (p *Peer) take(ctx context.Context, from <-chan frame) (frame, error) {
	select {
	case f := <-from:
		return f, nil
	default:
	}
	select {
	case f := <-from:
		return f, nil
	case <-p.gone:
		select {
		case f := <-from:
			return f, nil
		default:
			return frame{}, errors.New("it has ended")
		}
	case <-ctx.Done():
		return frame{}, context.Cause(ctx)
	}
}
