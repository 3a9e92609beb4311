// SPDX-License-Identifier: MPL-2.0

package integration

import (
	"testing"
	"time"

	"podplane/integration/pace"
)

const busy = pace.Busy

func busyness(t *testing.T) float64 {
	t.Helper()
	return pace.Busyness(t)
}

func late(t *testing.T, took, limit time.Duration) bool {
	t.Helper()
	return pace.Late(t, took, limit)
}
