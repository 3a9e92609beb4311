// SPDX-License-Identifier: MPL-2.0

package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
)

// Handler carries out a command. What it gives is encoded as JSON.
type Handler func(ctx context.Context, args json.RawMessage) (any, error)

// Handle makes a Handler of a function with typed arguments.
func Handle[A any](f func(context.Context, A) (any, error)) Handler {
	return func(ctx context.Context, raw json.RawMessage) (any, error) {
		var args A
		if err := json.Unmarshal(raw, &args); err != nil {
			return nil, err
		}
		return f(ctx, args)
	}
}

// Program is the connection of a program to the benchmark.
type Program struct {
	conn net.Conn
	mu   sync.Mutex
	enc  *json.Encoder
}

// Dial connects to the benchmark's socket.
func Dial(ctx context.Context, path string) (*Program, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("reach the benchmark: %w", err)
	}
	return &Program{conn: conn, enc: json.NewEncoder(conn)}, nil
}

// Hello says who this is. It comes first; the benchmark waits for it.
func (p *Program) Hello(role, addr string) error {
	return p.say(kindHello, "", Hello{Role: role, PID: os.Getpid(), Addr: addr}, nil)
}

// Event says that something has happened, just now.
func (p *Program) Event(name string) error { return p.say(kindEvent, name, nil, nil) }

func (p *Program) say(kind, name string, data any, failure error) error {
	f := frame{Kind: kind, Name: name, At: Now()}
	if failure != nil {
		f.Error = failure.Error()
	} else if data != nil {
		raw, err := json.Marshal(data)
		if err != nil {
			return err
		}
		f.Data = raw
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.enc.Encode(f)
}

// Serve carries out commands one after the other until the benchmark hangs up,
// which gives nil, or ctx ends. Either ends the command that is under way, too. It
// closes the connection.
func (p *Program) Serve(ctx context.Context, commands map[string]Handler) error {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { _ = p.conn.Close() })
	defer stop()
	arrived := make(chan frame)
	var reader sync.WaitGroup
	var unread error
	reader.Go(func() {
		defer cancel()
		unread = p.read(ctx, arrived)
	})
	err := p.obey(ctx, arrived, commands)
	cancel()
	_ = p.conn.Close()
	reader.Wait()
	return errors.Join(err, unread)
}

// read passes commands on until there can be no more.
func (p *Program) read(ctx context.Context, arrived chan<- frame) error {
	for dec := json.NewDecoder(p.conn); ; {
		var f frame
		if err := dec.Decode(&f); err != nil {
			if errors.Is(err, io.EOF) || ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("read a command of the benchmark: %w", err)
		}
		select {
		case arrived <- f:
		case <-ctx.Done():
			return nil
		}
	}
}

func (p *Program) obey(ctx context.Context, arrived <-chan frame, commands map[string]Handler) error {
	for {
		var f frame
		select {
		case f = <-arrived:
		case <-ctx.Done():
			return nil
		}
		var data any
		handler, ok := commands[f.Name]
		err := fmt.Errorf("unknown command %q", f.Name)
		if ok {
			data, err = handler(ctx, f.Data)
		}
		if err := p.say(kindReply, f.Name, data, err); err != nil && ctx.Err() == nil {
			return fmt.Errorf("answer the benchmark: %w", err)
		}
	}
}
