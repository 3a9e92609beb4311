// SPDX-License-Identifier: MPL-2.0

package xdsproxy

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
)

// TestDeliveriesAreAList compares them with a plain list: whatever is answered, in
// whatever order, what is left is the same and in the same order, and the room for
// it does not grow without need.
func TestDeliveriesAreAList(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	var q deliveries
	var want []string
	most := 0
	for n := range 100_000 {
		burst := n/1000%2 == 0 // the list grows and shrinks in turn
		if len(want) == 0 || rnd.IntN(5) < 2 || burst && rnd.IntN(3) == 0 {
			nonce := strconv.Itoa(n)
			q.add(delivery{nonce: nonce})
			want = append(want, nonce)
			most = max(most, len(want))
			continue
		}
		i := 0
		if rnd.IntN(4) == 0 { // out of order
			i = rnd.IntN(len(want))
		}
		d, ok := q.take(want[i])
		if !ok || d.nonce != want[i] {
			t.Fatalf("step %d: took %q, %v, and not %q", n, d.nonce, ok, want[i])
		}
		want = slices.Delete(want, i, i+1)
		if q.any() != (len(want) > 0) || len(q.list)-q.start != len(want) {
			t.Fatalf("step %d: %d are left, not %d", n, len(q.list)-q.start, len(want))
		}
	}
	for i, d := range q.list[q.start:] {
		if d.nonce != want[i] {
			t.Fatalf("%q stands at %d, not %q", d.nonce, i, want[i])
		}
	}
	if cap(q.list) > max(keptRoom, 5*most) {
		t.Errorf("room for %d, and there were never more than %d", cap(q.list), most)
	}
	if _, ok := q.take("never sent"); ok {
		t.Error("took what was never sent")
	}
}

// TestABurstOfDeliveriesLeavesNoRoom: a proxy is small again after one.
func TestABurstOfDeliveriesLeavesNoRoom(t *testing.T) {
	t.Parallel()
	var q deliveries
	for n := range 10 * keptRoom {
		q.add(delivery{nonce: strconv.Itoa(n)})
	}
	for n := range 10 * keptRoom {
		q.take(strconv.Itoa(n))
	}
	if q.any() || cap(q.list) > keptRoom {
		t.Errorf("room for %d is kept", cap(q.list))
	}
}
