// SPDX-License-Identifier: MPL-2.0

package downstream

import (
	"testing"

	"golang.org/x/net/http2"
)

// TestALostConnectionIsToldByTheContextFirst: whoever sends may be the first to find
// that the client has gone. It must not take that for another's fault.
func TestALostConnectionIsToldByTheContextFirst(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"small": 1 << 10, "large": 3 * largeFrom} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 30 {
				s := newServer(t)
				s.serve(listenTCP(t), Config{Method: testMethod, Open: s.open})
				c := s.client(http2.Setting{ID: http2.SettingInitialWindowSize, Val: maxWindow})
				if err := c.out.WriteWindowUpdate(0, 1<<30); err != nil {
					t.Fatal(err)
				}
				c.request(1)
				stream := s.next()
				sent, early := make(chan struct{}, 1), make(chan bool, 1)
				go func() {
					message := buffers(pattern(1, size))
					for {
						if stream.Send(message, nil) != nil {
							early <- stream.Context().Err() == nil
							return
						}
						select {
						case sent <- struct{}{}:
						default:
						}
					}
				}()
				within(t, sent, "the first message")
				if err := c.conn.Close(); err != nil {
					t.Fatal(err)
				}
				if within(t, early, "the end of Send") {
					t.Fatal("Send failed, and the stream's context was not done")
				}
				s.end()
			}
		})
	}
}
