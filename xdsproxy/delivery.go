// SPDX-License-Identifier: MPL-2.0

package xdsproxy

import "google.golang.org/grpc/mem"

// delivery is a response on its way to Envoy.
type delivery struct {
	number   uint64 // deliveries are counted, over all types
	nonce    string // as Envoy sees it
	gen      uint64 // the upstream stream it came from; localGen if from the cache
	upstream string // the nonce as the server sees it
	response response
	data     mem.BufferSlice // kept for the cache until Envoy has answered; may be nil
}

// deliveries are those of one type that Envoy has not answered yet, oldest first.
// It answers them in order, as a rule, so the first ones are taken away by moving
// the start; the room before it is used again.
type deliveries struct {
	list  []delivery
	start int
}

// keptRoom is the number of deliveries that room is kept for.
const keptRoom = 64

func (q *deliveries) any() bool { return q.start < len(q.list) }

func (q *deliveries) add(d delivery) {
	if len(q.list) == cap(q.list) && q.start > len(q.list)/2 {
		n := copy(q.list, q.list[q.start:])
		clear(q.list[n:])
		q.list, q.start = q.list[:n], 0
	}
	q.list = append(q.list, d)
}

// take takes the delivery with the given nonce out.
func (q *deliveries) take(nonce string) (delivery, bool) {
	for i := q.start; i < len(q.list); i++ {
		if q.list[i].nonce != nonce {
			continue
		}
		d := q.list[i]
		copy(q.list[q.start+1:], q.list[q.start:i])
		q.list[q.start] = delivery{}
		q.start++
		q.rewind()
		return d, true
	}
	return delivery{}, false
}

// rewind uses the room anew when there is nothing left, unless it was for a burst.
func (q *deliveries) rewind() {
	if q.any() {
		return
	}
	q.list, q.start = q.list[:0], 0
	if cap(q.list) > keptRoom {
		q.list = nil
	}
}

// clear gives up all of them.
func (q *deliveries) clear() {
	for _, d := range q.list[q.start:] {
		d.data.Free()
	}
	*q = deliveries{}
}
