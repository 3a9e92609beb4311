// SPDX-License-Identifier: MPL-2.0

package xdsproxy

import "sync"

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
	ready  sync.Cond // there is something to take, or nothing more to come
	frames []*frame
	size   int
	closed bool
}

func newQueue() *queue {
	q := &queue{}
	q.ready.L = &q.mu
	return q
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
	q.ready.Signal()
	return !full
}

// take waits for frames and gives all that there are; none when the queue is
// closed. The frames that were taken before have been used up: their room is used
// again.
func (q *queue) take(used []*frame) []*frame {
	clear(used)
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.frames) == 0 && !q.closed {
		q.ready.Wait()
	}
	frames := q.frames
	q.frames, q.size = used[:0], 0
	return frames
}

// close frees what was not taken, and what comes later. It ends the waiting.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	freeAll(q.frames)
	q.frames, q.closed = nil, true
	q.ready.Broadcast()
}

func freeAll(frames []*frame) {
	for _, f := range frames {
		f.free()
	}
}
