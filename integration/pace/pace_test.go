// SPDX-License-Identifier: MPL-2.0

package pace

import (
	"testing"
	"time"
)

func TestLate(t *testing.T) {
	t.Parallel()
	if Late(t, time.Second, time.Second) {
		t.Error("what is in time is late")
	}
	if !Late(t, time.Hour, time.Millisecond) {
		t.Error("an hour for a millisecond is in time, however busy the machine is")
	}
}

// Work takes at least as long as its processor's time.
func TestBusyness(t *testing.T) {
	t.Parallel()
	if b, err := busyness(); err != nil || b < 1 {
		t.Errorf("busyness is %f, %v", b, err)
	}
}
