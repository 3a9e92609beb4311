// SPDX-License-Identifier: MPL-2.0

package exposition

import (
	"bytes"
	"testing"
)

// TestPool holds that memory is used again, that what stood in it does not
// show, and that all of it can be given back.
func TestPool(t *testing.T) {
	t.Parallel()
	var pool Pool
	for i, text := range [][]byte{big(20, 4000), big(30, 3000), big(10, 6000)} {
		before := len(pool.kept)
		for _, data := range pool.kept {
			copy(data, bytes.Repeat([]byte("\"0} 1\n"), len(data)/6))
		}
		e, err := Read(bytes.NewReader(text), Text, Options{Pool: &pool})
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 && len(pool.kept) >= before {
			t.Errorf("round %d: nothing of %d chunks was used again", i, before)
		}
		var out bytes.Buffer
		if _, err := Merge(Text, Source{"a", e}).Write(&out); err != nil || !bytes.Equal(out.Bytes(), text) {
			t.Errorf("round %d: what was written is not what was read (%v)", i, err)
		}
		e.Close()
		if len(pool.kept) == 0 || len(pool.kept) > maxKept {
			t.Errorf("round %d: %d chunks kept", i, len(pool.kept))
		}
	}
	pool.Release()
	if len(pool.kept) != 0 {
		t.Errorf("%d chunks after the release", len(pool.kept))
	}
}
