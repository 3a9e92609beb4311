// SPDX-License-Identifier: MPL-2.0

package downstream

import (
	"net"

	"google.golang.org/grpc/mem"
)

// reading is what has not been sent of a message: of its prefix, of its buffers, and
// of what is behind them.
type reading struct {
	head   []byte
	middle mem.BufferSlice
	tail   []byte
}

// next gives at most n bytes, at least one.
func (r *reading) next(n int) []byte {
	for len(r.head) == 0 {
		if len(r.middle) == 0 {
			r.head, r.tail = r.tail, nil
			break
		}
		r.head = r.middle[0].ReadOnlyData()
		r.middle = r.middle[1:]
	}
	piece := r.head[:min(n, len(r.head))]
	r.head = r.head[len(piece):]
	return piece
}

// append copies the next n bytes.
func (r *reading) append(b []byte, n int) []byte {
	for n > 0 {
		piece := r.next(n)
		b = append(b, piece...)
		n -= len(piece)
	}
	return b
}

// refer gives the next n bytes where they lie.
func (r *reading) refer(pieces net.Buffers, n int) net.Buffers {
	for n > 0 {
		piece := r.next(n)
		pieces = append(pieces, piece)
		n -= len(piece)
	}
	return pieces
}
