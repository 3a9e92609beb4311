// SPDX-License-Identifier: MPL-2.0

package selfregister

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long anything may take that has to come.
const patience = 30 * time.Second

// eventually waits for a condition that nobody announces.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal("in vain waited for " + what)
		}
	}
}

// mustParse gives the definition in a text of HCL.
func mustParse(t *testing.T, text string) *Definition {
	t.Helper()
	d, err := Parse("s.hcl", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}
