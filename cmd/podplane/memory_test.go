// SPDX-License-Identifier: MPL-2.0

package main

import (
	"errors"
	"math"
	"testing"

	"podplane/config"
)

func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		mode      config.Mode
		container uint64
		err       error
		want      int64
	}{
		"beside envoy":    {config.ModeSidecar, 512 << 20, nil, 128 << 20},
		"alone":           {config.ModeDNSProxy, 100 << 20, nil, 90 << 20},
		"small container": {config.ModeSidecar, 64 << 20, nil, 32 << 20},
		"no limit":        {config.ModeSidecar, 0, errors.New("memory is not limited"), 0},
		"more than int64": {config.ModeDNSProxy, math.MaxUint64, nil, math.MaxInt64},
	} {
		got, err := memoryLimit(tc.mode, func() (uint64, error) { return tc.container, tc.err })
		if got != tc.want || !errors.Is(err, tc.err) {
			t.Errorf("%s: %d (%v), want %d", name, got, err, tc.want)
		}
	}
}
