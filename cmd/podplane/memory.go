// SPDX-License-Identifier: MPL-2.0

package main

import (
	"math"
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/hashicorp/go-hclog"

	"podplane/config"
)

const (
	// besideEnvoy is podplane's part of the container's memory. Envoy lives in the
	// same cgroup, holds what podplane holds as bytes as objects many times as
	// large, and has no limit of its own that it could be told.
	besideEnvoy = 0.25
	// alone is its part where there is no Envoy. The rest is what Go does not count.
	alone = 0.9
	// leastMemory is where a limit begins to cost more in garbage collection than
	// it saves.
	leastMemory = 32 << 20
)

// limitMemory tells the garbage collector how much memory there is, unless
// GOMEMLIMIT in the environment does. memlimit.Set would do the same, and link
// log/slog for it.
func limitMemory(mode config.Mode, log hclog.Logger) {
	if _, given := os.LookupEnv("GOMEMLIMIT"); given {
		return
	}
	limit, err := memoryLimit(mode, memlimit.FromCgroup)
	if err != nil { // no limit, or no cgroup to be seen
		log.Debug("memory of the container is not limited", "reason", err)
		return
	}
	debug.SetMemoryLimit(limit)
	log.Debug("memory limit of the go runtime", "bytes", limit)
}

// memoryLimit is podplane's part of the container's memory.
func memoryLimit(mode config.Mode, container memlimit.Provider) (int64, error) {
	ratio := besideEnvoy
	if mode == config.ModeDNSProxy {
		ratio = alone
	}
	limit, err := memlimit.ApplyRatio(container, ratio)()
	if err != nil {
		return 0, err
	}
	return int64(min(max(limit, leastMemory), math.MaxInt64)), nil
}
