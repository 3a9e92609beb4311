// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

// TestOutagesAreLoggedOnce: servers that answer one query and not the next are
// not lost and back again each time.
func TestOutagesAreLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		c := newConsul(Config{Conn: unusedConn{}}, hclog.New(&hclog.LoggerOptions{Output: &out}))
		expect := func(when string, lines ...string) {
			t.Helper()
			if n := strings.Count(out.String(), "\n"); n != len(lines) {
				t.Errorf("%s: %d lines, want %d:\n%s", when, n, len(lines), &out)
			}
			for _, line := range lines {
				if !strings.Contains(out.String(), line) {
					t.Errorf("%s: not said: %s\n%s", when, line, &out)
				}
			}
			out.Reset()
		}
		const lost, back = "servers do not answer", "servers answer dns queries again"
		for range 3 {
			c.note(t.Context(), errNoServer)
		}
		expect("no server at the start", lost)
		c.note(t.Context(), nil)
		expect("a server", back)
		for range 100 {
			c.note(t.Context(), errNoServer)
			time.Sleep(silence / 10)
			c.note(t.Context(), nil)
		}
		expect("every other query")
		for range 100 {
			time.Sleep(silence / 10)
			c.note(t.Context(), errNoServer)
		}
		expect("lost", lost)
		c.note(t.Context(), nil)
		expect("found", back)
	})
}
