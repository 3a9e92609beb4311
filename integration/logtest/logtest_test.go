// SPDX-License-Identifier: MPL-2.0

package logtest

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

func TestBuffer(t *testing.T) {
	t.Parallel()
	var b Buffer
	var writers sync.WaitGroup
	for i := range 10 {
		writers.Go(func() {
			fmt.Fprintln(&b, "line", i)
			if !strings.Contains(b.String(), fmt.Sprintln("line", i)) {
				t.Error("what was written is not there")
			}
		})
	}
	writers.Wait()
	if n := strings.Count(b.String(), "line "); n != 10 {
		t.Errorf("%d lines", n)
	}
}
