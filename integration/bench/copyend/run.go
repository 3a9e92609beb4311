// SPDX-License-Identifier: MPL-2.0

package copyend

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"

	"podplane/integration/bench/control"
)

// Role is what the program says of itself.
const Role = "copier"

// bufferSize is that of gRPC's reads.
const bufferSize = 32 << 10

// Run copies until the benchmark hangs up or ctx ends.
func Run(ctx context.Context, controlPath, target string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var conns sync.WaitGroup
	defer conns.Wait()
	defer cancel()
	conns.Go(func() { accept(ctx, l, target, &conns) })
	defer func() { _ = l.Close() }()
	program, err := control.Dial(ctx, controlPath)
	if err != nil {
		return err
	}
	if err := program.Hello(Role, l.Addr().String()); err != nil {
		return err
	}
	return program.Serve(ctx, nil)
}

func accept(ctx context.Context, l net.Listener, target string, conns *sync.WaitGroup) {
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		conns.Go(func() { _ = Relay(ctx, in, target) }) // its ends tell of an error
	}
}

// Relay copies one connection to the target and back, until either end closes it or
// ctx is done, which is no error whatever it cuts off. It closes both.
func Relay(ctx context.Context, in net.Conn, target string) error {
	if err := relay(ctx, in, target); ctx.Err() == nil {
		return err
	}
	return nil
}

func relay(ctx context.Context, in net.Conn, target string) error {
	defer func() { _ = in.Close() }()
	out, err := (&net.Dialer{}).DialContext(ctx, "tcp", target)
	if err != nil {
		return err
	}
	closeBoth := func() { _, _ = in.Close(), out.Close() }
	defer closeBoth()
	defer context.AfterFunc(ctx, closeBoth)()
	back := make(chan error, 1)
	go func() {
		back <- pump(in, out)
		closeBoth()
	}()
	err = pump(out, in)
	closeBoth()
	return errors.Join(err, <-back)
}

// pump hides what io.Copy would look for: the kernel could copy without the program,
// and no proxy that has to read what it forwards can have that.
func pump(to, from net.Conn) error {
	buf := make([]byte, bufferSize)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			return err
		}
	}
}
