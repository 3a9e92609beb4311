// SPDX-License-Identifier: MPL-2.0

package integration

import (
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// busy is from which busyness on a limit is stretched: what a test itself does
// beside what it measures is below it.
const busy = 1.5

// busyness tells how many times as long as on an idle machine work takes at the
// moment: the time over the processor's time of a little of it. It takes 50 ms,
// times itself.
func busyness(t *testing.T) float64 {
	t.Helper()
	const work = 50 * time.Millisecond
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	used := func() time.Duration {
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
			t.Fatal(err)
		}
		return time.Duration(ts.Nano())
	}
	begun, before := time.Now(), used()
	for used()-before < work {
	}
	return float64(time.Since(begun)) / float64(used()-before)
}

// late tells whether something that took so long is later than a limit that is
// meant for a machine without much other work. On another one the limit is as
// many times as long as work takes there.
func late(t *testing.T, took, limit time.Duration) bool {
	t.Helper()
	if took <= limit {
		return false
	}
	b := busyness(t)
	if b < busy {
		return true
	}
	stretched := time.Duration(b * float64(limit))
	t.Logf("%s is later than %s, on a machine where work takes %.1f times as long: %s are allowed", took, limit, b, stretched)
	return took > stretched
}
