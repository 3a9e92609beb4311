// SPDX-License-Identifier: MPL-2.0

package downstream

import (
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestHelloTimeout has connections on which no stream is accepted, for whatever
// reason, and one on which a stream was. Time is a synctest's, over a net.Pipe.
func TestHelloTimeout(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		say  func(*client)
		ends bool
	}{
		"nothing":            {func(*client) {}, true},
		"no stream":          {func(c *client) { c.hello() }, true},
		"a refused stream":   {func(c *client) { c.hello(); c.headers(1, false, requestHeader("/other")) }, true},
		"a stream":           {func(c *client) { c.hello(); c.request(1) }, false},
		"a stream that ends": {func(c *client) { c.hello(); c.request(1); c.data(1, true, nil) }, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				here, there := net.Pipe()
				ended := serveOn(t.Context(), there, Config{Method: testMethod, Open: func(*Stream) (Receive, error) {
					return func([]byte) error { return nil }, nil
				}})
				began := time.Now()
				test.say(newClient(t, here))
				go func() { _, _ = io.Copy(io.Discard, here) }()
				if test.ends {
					<-ended
					if took := time.Since(began); took < helloTimeout || took > helloTimeout+goodbyeTimeout {
						t.Errorf("ended after %s", took)
					}
					return
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				select {
				case <-ended:
					t.Error("the connection has ended")
				default:
				}
				_ = here.Close()
				<-ended
			})
		})
	}
}

// TestUnreadIsBounded sends small messages to a client that does not read: what
// waits for it stays within its bounds, and Send waits.
func TestUnreadIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		streams := make(chan *Stream, 1)
		ended := serveOn(t.Context(), there, Config{Method: testMethod, Open: func(s *Stream) (Receive, error) {
			streams <- s
			return func([]byte) error { return nil }, nil
		}})
		c := newClient(t, here)
		c.hello(initialWindow(maxWindow))
		c.did(c.out.WriteWindowUpdate(0, maxWindow-defaultWindow))
		c.request(1)
		s := <-streams
		const size = largeFrom - 1
		var taken atomic.Int64
		sent := make(chan error, 1)
		go func() {
			for {
				if err := s.Send(buffers(make([]byte, size)), nil); err != nil {
					sent <- err
					return
				}
				taken.Add(size)
			}
		}()
		synctest.Wait()
		// One buffer is being written, another may wait.
		if n := taken.Load(); n == 0 || n > 2*(maxWaiting+size) {
			t.Errorf("%d bytes wait", n)
		}
		c.ping("heard me") // reading goes on
		s.End(nil)
		if err := <-sent; err == nil {
			t.Error("Send has no error")
		}
		_ = here.Close()
		<-ended
	})
}
