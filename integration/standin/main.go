// SPDX-License-Identifier: MPL-2.0

// Command standin takes Envoy's place where no Envoy can be had: in tests, the
// demo and the benchmark. It has Envoy's command line, bootstrap, ADS client,
// admin endpoint and a data path for what Consul configures, and refuses what it
// does not know.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"podplane/integration/standin/server"
)

func main() {
	os.Exit(run())
}

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return server.Main(ctx, server.Process{Args: os.Args[1:], Stdout: os.Stdout, Stderr: os.Stderr})
}
