// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAddressesAreAskedForAgain: what -addresses gives is asked for when all the
// servers that are known have been tried, so that others are found that came in
// their place. No server told of them.
func TestAddressesAreAskedForAgain(t *testing.T) {
	t.Parallel()
	for name, watchDisabled := range map[string]bool{"watched": false, "not watched": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newFakeConsul(t)
			file := filepath.Join(t.TempDir(), "addresses")
			write := func(content string) {
				t.Helper()
				if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write("127.0.0.1")
			cfg := plain(c)
			cfg.Addresses = "exec=cat " + file
			cfg.ServerWatchDisabled = watchDisabled
			r := start(t, cfg)
			r.mustBeReady(t)
			for _, step := range []struct{ dies, content string }{
				{"127.0.0.1", "127.0.0.2"}, {"127.0.0.2", "127.0.0.3"},
			} {
				c.stop(step.dies)
				eventually(t, "the loss is noticed", func() bool { return !r.Status().Connected })
				write("no address at all") // as a name is unknown for a moment
				c.start(t, step.content)
				write(step.content)
				eventually(t, "the server at "+step.content, func() bool {
					st := r.Status()
					return st.Connected && strings.HasPrefix(st.Server, step.content+":")
				})
			}
		})
	}
}
