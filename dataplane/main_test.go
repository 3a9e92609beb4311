// SPDX-License-Identifier: MPL-2.0

package dataplane

import (
	"os"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// The test binary is its own Envoy: podplane starts Envoy with --config-path
// first, which no test run begins with.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "--config-path" {
		// Not os.Exit: with the race detector that takes a second.
		syscall.Exit(runFakeEnvoy(os.Args[2], os.Args[3:]))
	}
	goleak.VerifyTestMain(m)
}
