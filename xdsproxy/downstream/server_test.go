// SPDX-License-Identifier: MPL-2.0

package downstream

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
)

// tired is a listener that gives the errors of a list before it works.
type tired struct {
	net.Listener
	errs []error
}

func (l *tired) Accept() (net.Conn, error) {
	if len(l.errs) == 0 {
		return l.Listener.Accept()
	}
	err := l.errs[0]
	l.errs = l.errs[1:]
	return nil, err
}

func TestServeOutlivesTemporaryErrors(t *testing.T) {
	t.Parallel()
	s := startEcho(t, &tired{listenUnix(t), []error{syscall.EMFILE, syscall.ENFILE, syscall.EMFILE}})
	c := s.call()
	c.send([]byte("still there?"))
	sameBytes(t, "the message", c.receive(), []byte("still there?"))
}

// TestServeEndsWithItsListener has the listener fail for good while a stream is open.
func TestServeEndsWithItsListener(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	l := listenUnix(t)
	ended := make(chan error, 1)
	go func() { ended <- Serve(t.Context(), l, Config{Method: testMethod, Open: s.open}) }()
	s.addr = l.Addr()
	c := s.call()
	stream := s.next()
	_ = l.Close()
	if err := within(t, ended, "the end of Serve"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve gave %v", err)
	}
	_ = stream.done()
	if got := c.end(); got.Code() != codes.Unavailable {
		t.Errorf("status %s", got)
	}
}

// TestServeEndsWhileItPauses ends Serve between two tries to accept.
func TestServeEndsWhileItPauses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		began := time.Now()
		go func() { ended <- Serve(ctx, exhausted{}, Config{}) }()
		time.Sleep(time.Minute)
		cancel()
		if err := <-ended; err != nil || time.Since(began) != time.Minute {
			t.Errorf("Serve gave %v after %s", err, time.Since(began))
		}
	})
}

// exhausted is a listener that never has a descriptor left.
type exhausted struct{ net.Listener }

func (exhausted) Accept() (net.Conn, error) { return nil, syscall.EMFILE }
func (exhausted) Close() error              { return nil }
