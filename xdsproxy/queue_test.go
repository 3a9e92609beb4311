// SPDX-License-Identifier: MPL-2.0

package xdsproxy

import "testing"

// TestQueueLosesNothing pushes and takes at the same time: every frame arrives
// once and in order, and take ends only when the queue is closed.
func TestQueueLosesNothing(t *testing.T) {
	t.Parallel()
	const n = 20_000
	q := newQueue()
	pushed := make([]*frame, n)
	for i := range pushed {
		pushed[i] = newFrame(nil, "")
	}
	go func() {
		for _, f := range pushed {
			q.push(f)
		}
	}()
	var frames []*frame
	for got := 0; got < n; {
		frames = q.take(frames)
		if len(frames) == 0 {
			t.Fatalf("take gave up after %d frames", got)
		}
		for _, f := range frames {
			if f != pushed[got] {
				t.Fatalf("frame %d is out of order", got)
			}
			got++
		}
	}
	ended := make(chan []*frame)
	go func() { ended <- q.take(frames) }()
	q.close()
	if left := within(t, ended, "the end of take"); len(left) > 0 {
		t.Error("take gave frames after all were taken")
	}
}

func TestQueueTellsWhenItIsFull(t *testing.T) {
	t.Parallel()
	q := newQueue()
	for range maxQueued/frameCost + 1 {
		if !q.push(newFrame(nil, "")) {
			t.Fatal("full too early")
		}
	}
	if q.push(newFrame(nil, "")) {
		t.Error("not full")
	}
	q.close()
	if !q.push(newFrame(nil, "")) || len(q.take(nil)) > 0 {
		t.Error("a closed queue keeps frames")
	}
}
