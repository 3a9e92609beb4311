// SPDX-License-Identifier: MPL-2.0

// Command build puts the test servers and the Envoy stand-in into the cache folder, and prints what it
// does, how long that takes, and their paths. It is what `make test-servers` runs; a second run only looks.
// With the names of servers as arguments, it builds those of the servers alone; the stand-in it always builds, since
// every test and demo that needs a server needs an Envoy.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"podplane/integration/envoybin"
	"podplane/integration/servers"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only []string) error {
	all := servers.All()
	for _, name := range only {
		if !slices.ContainsFunc(all, func(s servers.Server) bool { return s.Name == name }) {
			return fmt.Errorf("no test server has the name %q", name)
		}
	}
	start := time.Now()
	cache, err := servers.CacheDir()
	if err != nil {
		return err
	}
	fmt.Println("test servers: in", cache)
	for _, server := range all {
		if len(only) > 0 && !slices.Contains(only, server.Name) {
			continue
		}
		if _, err := server.Build(ctx, os.Stdout); err != nil {
			return err
		}
	}
	envoy, err := envoybin.Find(ctx)
	if err != nil {
		return err
	}
	fmt.Println(envoy)
	fmt.Println("test servers: all ready after", time.Since(start).Round(100*time.Millisecond))
	return nil
}
