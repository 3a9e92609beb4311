// SPDX-License-Identifier: MPL-2.0

package consultest

import (
	"context"
)

// TB is what [New] needs of a *testing.T, so that this package does not link `testing` into the demo.
type TB interface {
	Helper()
	Cleanup(func())
	Failed() bool
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
	Context() context.Context
}

// New is [Start] for a test: it fails the test on an error, closes the cluster at the test's end, and
// logs the ends of the servers' logs if the test failed.
func New(tb TB, opts Options) *Cluster {
	tb.Helper()
	c, err := Start(tb.Context(), opts)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("consul servers' logs:\n%s", c.LogTail())
		}
		if err := c.Close(); err != nil {
			tb.Logf("close consul cluster: %v", err)
		}
	})
	return c
}
