// SPDX-License-Identifier: MPL-2.0

package downstream

// window is how many bytes a client may send before it is told of more, on a
// stream and on a connection. Requests are small, and a larger one passes, too.
const window = 256 << 10

// inflow is one window of what is received.
type inflow struct {
	left  int // bytes that may still come
	taken int // bytes that were taken since the client was told of more
}

func newInflow() inflow { return inflow{left: window} }

// take books bytes that came, and tells whether they were allowed to.
func (f *inflow) take(n int) bool {
	if n > f.left {
		return false
	}
	f.left -= n
	f.taken += n
	return true
}

// more gives the bytes that the client may be told of: nothing, until it is
// worth a frame.
func (f *inflow) more() int {
	if f.taken < window/2 {
		return 0
	}
	n := f.taken
	f.left += n
	f.taken = 0
	return n
}
