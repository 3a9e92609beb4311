// SPDX-License-Identifier: MPL-2.0

package control

import (
	"encoding/json"

	"golang.org/x/sys/unix"
)

// The kinds of frames.
const (
	kindHello   = "hello"
	kindEvent   = "event"
	kindCommand = "command"
	kindReply   = "reply"
)

// frame is one document on the wire, in either direction.
type frame struct {
	Kind  string          `json:"kind"`
	Name  string          `json:"name,omitempty"` // of the event or the command
	At    int64           `json:"at,omitempty"`   // when it was said, see [Now]
	Data  json.RawMessage `json:"data,omitempty"`
	Error string          `json:"error,omitempty"`
}

// Hello is what a program says of itself when it is ready.
type Hello struct {
	// Role is what it plays, such as "envoy".
	Role string `json:"role"`
	// PID is its process ID.
	PID int `json:"pid"`
	// Addr is where it serves; empty if it does not, or if the benchmark chose the address.
	Addr string `json:"addr,omitempty"`
}

// Now is the kernel's monotonic clock in nanoseconds, which is the same in all
// processes of a machine: clock_gettime(2), CLOCK_MONOTONIC.
func Now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic("no monotonic clock: " + err.Error()) // Linux always has it
	}
	return ts.Nano()
}
