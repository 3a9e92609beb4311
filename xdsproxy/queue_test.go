// SPDX-License-Identifier: MPL-2.0

package xdsproxy

import (
	"context"
	"testing"
)

// TestQueueLosesNothing pushes and takes at the same time: every frame arrives
// once and in order, and take ends only with its context.
func TestQueueLosesNothing(t *testing.T) {
	t.Parallel()
	const n = 20_000
	q := newQueue()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	pushed := make([]*frame, n)
	for i := range pushed {
		pushed[i] = newFrame(nil)
	}
	go func() {
		for _, f := range pushed {
			q.push(f)
		}
	}()
	for got := 0; got < n; {
		frames := q.take(ctx)
		if frames == nil {
			t.Fatalf("take gave up after %d frames", got)
		}
		for _, f := range frames {
			if f != pushed[got] {
				t.Fatalf("frame %d is out of order", got)
			}
			got++
		}
	}
	cancel()
	if q.take(ctx) != nil {
		t.Error("take gave frames after all were taken")
	}
}

func TestQueueTellsWhenItIsFull(t *testing.T) {
	t.Parallel()
	q := newQueue()
	for range maxQueued/frameCost + 1 {
		if !q.push(newFrame(nil)) {
			t.Fatal("full too early")
		}
	}
	if q.push(newFrame(nil)) {
		t.Error("not full")
	}
	q.close()
	if !q.push(newFrame(nil)) || q.take(doneContext(t)) != nil {
		t.Error("a closed queue keeps frames")
	}
}

func doneContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
