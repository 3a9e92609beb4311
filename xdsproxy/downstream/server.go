// SPDX-License-Identifier: MPL-2.0

package downstream

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// Config says what is served.
type Config struct {
	// Method is the full name of the method: /package.Service/Method. Others get
	// the status Unimplemented.
	Method string
	// Open begins a stream, whose Header it may look at, and gives what takes its
	// messages, or the status with which it ends. Until it has returned, nothing
	// of the stream is read. It must not wait.
	Open func(*Stream) (Receive, error)
}

// Receive takes a message of a stream, which belongs to it from then on. An error
// ends the stream with its gRPC status. Nothing is read from the connection
// meanwhile, so it must not wait for Send.
type Receive func(message []byte) error

const (
	acceptBackoffFirst = 5 * time.Millisecond
	acceptBackoffMax   = time.Second
)

// Serve accepts connections until ctx is done, which gives nil, or until that
// fails. It closes the listener and all connections, and waits for their end.
func Serve(ctx context.Context, l net.Listener, config Config) error {
	ctx, cancel := context.WithCancel(ctx)
	var conns sync.WaitGroup
	defer conns.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer func() {
		if stop() {
			_ = l.Close()
		}
	}()
	pause := acceptBackoffFirst
	for {
		nc, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = nc.Close()
			}
			return nil
		case err == nil:
			pause = acceptBackoffFirst
			conns.Go(func() { serve(ctx, nc, config) })
		case temporary(err):
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			pause = min(2*pause, acceptBackoffMax)
		default:
			return err
		}
	}
}

// temporary tells whether accepting may work again, as when there are no
// descriptors left at the moment.
func temporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}
