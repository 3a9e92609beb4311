// SPDX-License-Identifier: MPL-2.0

package main

import (
	"os"
	"runtime"
	"testing"

	"podplane/config"
)

// Not parallel, as nothing here may be that changes the process.
func TestProcessors(t *testing.T) {
	const before = 3
	for name, tc := range map[string]struct {
		mode config.Mode
		env  string
		want int
	}{
		"beside envoy": {config.ModeSidecar, "", 1},
		"alone":        {config.ModeDNSProxy, "", before},
		"told":         {config.ModeSidecar, "3", before},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GOMAXPROCS", tc.env)
			if tc.env == "" {
				if err := os.Unsetenv("GOMAXPROCS"); err != nil {
					t.Fatal(err)
				}
			}
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(before))
			limitProcessors(tc.mode)
			if got := runtime.GOMAXPROCS(0); got != tc.want {
				t.Errorf("%d processors, want %d", got, tc.want)
			}
		})
	}
}
