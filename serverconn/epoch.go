// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"context"
	"sync"

	"google.golang.org/grpc"
)

// epoch is the time that one server is used over one link. Streams belong to
// the epoch in which they were opened, and end with it: gRPC itself would let
// them live on at a server that was left, for as long as that one likes.
type epoch struct {
	id     uint64
	link   *link
	conn   grpc.ClientConnInterface
	token  string
	server string

	mu      sync.Mutex
	over    bool
	streams map[*stream]struct{}
}

// adopt makes the stream end with the epoch. It reports false when the epoch is
// already over.
func (e *epoch) adopt(st *stream) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over {
		return false
	}
	if e.streams == nil {
		e.streams = make(map[*stream]struct{})
	}
	e.streams[st] = struct{}{}
	return true
}

func (e *epoch) drop(st *stream) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.streams, st)
}

// end ends the epoch's streams. It may be called more than once.
func (e *epoch) end() {
	e.mu.Lock()
	e.over = true
	cancels := make([]context.CancelFunc, 0, len(e.streams))
	for st := range e.streams {
		st.left.Store(true)
		cancels = append(cancels, st.cancel)
	}
	e.streams = nil
	e.mu.Unlock()
	for _, cancel := range cancels { // outside the lock, which drop takes
		cancel()
	}
}
