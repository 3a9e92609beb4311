// SPDX-License-Identifier: MPL-2.0

package xdsproxy

import (
	"context"
	"sync"
)

// maxQueued bounds what waits in a queue, in bytes. Envoy's requests are small
// and nearly all of them answer a response, of which there are few at a time; a
// queue of this size is the sign of a peer that has stopped reading.
const maxQueued = 8 << 20

// frameCost is what a frame costs in memory beyond its bytes, roughly.
const frameCost = 256

// queue hands frames from one goroutine to another without making the first
// one wait: what reads from Envoy must never be held up by a server.
type queue struct {
	mu     sync.Mutex
	frames []*frame
	size   int
	closed bool
	ready  chan struct{} // holds a token while there is something to take
}

func newQueue() *queue {
	return &queue{ready: make(chan struct{}, 1)}
}

// push takes over the frames. It returns false when too much waited already: a
// single message may be as large as it likes.
func (q *queue) push(frames ...*frame) bool {
	if len(frames) == 0 {
		return true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		freeAll(frames)
		return true
	}
	full := q.size > maxQueued
	q.frames = append(q.frames, frames...)
	for _, f := range frames {
		q.size += f.data.Len() + frameCost
	}
	select {
	case q.ready <- struct{}{}:
	default:
	}
	return !full
}

// take waits for frames and gives all that there are; nil when ctx is done.
func (q *queue) take(ctx context.Context) []*frame {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-q.ready:
		}
		// A token may be left of frames that an earlier take already gave.
		if frames := q.takeAll(); len(frames) > 0 {
			return frames
		}
	}
}

func (q *queue) takeAll() []*frame {
	q.mu.Lock()
	defer q.mu.Unlock()
	frames := q.frames
	q.frames, q.size = nil, 0
	return frames
}

// close frees what was not taken, and what comes later.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	freeAll(q.frames)
	q.frames, q.closed = nil, true
}

func freeAll(frames []*frame) {
	for _, f := range frames {
		f.free()
	}
}
