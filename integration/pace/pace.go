// SPDX-License-Identifier: MPL-2.0

// Package pace judges times on a machine that may have other work.
//
// It owns the measure of how busy the machine is, and what that does to a limit. It does not measure what is judged.
//
// What always holds: on a machine without other work, a limit is what it says.
package pace

import (
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Busy is from which busyness on a limit is stretched: what a test itself does
// beside what it measures is below it.
const Busy = 1.5

// work is how much of the processor's time busyness takes.
const work = 50 * time.Millisecond

// busyness tells how many times as long as on an idle machine work takes at the
// moment: the time over the processor's time of a little of it.
func busyness() (float64, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	begun := time.Now()
	before, err := used()
	for now := before; err == nil && now-before < work; {
		now, err = used()
	}
	if err != nil {
		return 0, err
	}
	return float64(time.Since(begun)) / float64(work), nil
}

// used is the processor's time of this thread.
func used() (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		return 0, fmt.Errorf("read the processor's time: %w", err)
	}
	return time.Duration(ts.Nano()), nil
}

// Busyness tells how many times as long as on an idle machine work takes at the moment. It takes 50 ms, times itself.
func Busyness(t TB) float64 {
	t.Helper()
	b, err := busyness()
	if err != nil {
		t.Fatalf("%v", err)
	}
	return b
}

// TB is what this package needs of a test.
type TB interface {
	Helper()
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Late tells whether something that took so long is later than a limit that is
// meant for a machine without much other work. On another one the limit is as
// many times as long as work takes there, at the moment of the call.
func Late(t TB, took, limit time.Duration) bool {
	t.Helper()
	if took <= limit {
		return false
	}
	b := Busyness(t)
	if b < Busy {
		return true
	}
	stretched := time.Duration(b * float64(limit))
	t.Logf("%s is later than %s, on a machine where work takes %.1f times as long: %s are allowed", took, limit, b, stretched)
	return took > stretched
}
