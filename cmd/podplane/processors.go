// SPDX-License-Identifier: MPL-2.0

package main

import (
	"os"
	"runtime"

	"podplane/config"
)

// limitProcessors keeps the sidecar's Go code on one processor at a time, unless
// GOMAXPROCS in the environment says otherwise. What it forwards passes through
// several goroutines in turn: on one processor the next one simply runs, on two
// another thread is woken for it, which costs more than the goroutine's work.
// Envoy beside it has use for the other cores. A dns-proxy answers many clients
// at once, and takes what there is.
func limitProcessors(mode config.Mode) {
	if _, given := os.LookupEnv("GOMAXPROCS"); given || mode == config.ModeDNSProxy {
		return
	}
	runtime.GOMAXPROCS(1)
}
