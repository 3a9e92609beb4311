// SPDX-License-Identifier: MPL-2.0

// Command podplane-injector is the companion of podplane in a Kubernetes cluster:
// the admission webhook that puts podplane into pods, and the registrar that puts
// pods into Consul's catalog. See docs/reference/injector-settings.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/hashicorp/go-hclog"
	"k8s.io/klog/v2"

	"podplane/companion"
	"podplane/config"
)

// version and revision are set by the linker.
var (
	version  = "dev"
	revision = "unknown"
)

// The exit codes, which are those of podplane for the same reasons.
const (
	exitClean  = 0
	exitOther  = 1
	exitConfig = 2
)

// The subcommands. The second is for an init container that the webhook makes.
const (
	commandBootstrap = "bootstrap-acl"
	commandWriteIDs  = "write-proxy-ids"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	// A second signal means now.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == commandWriteIDs {
		if err := companion.WriteProxyIDs(args[1:]); err != nil {
			_, _ = fmt.Fprintf(stderr, "podplane-injector %s: %s\n", commandWriteIDs, oneLine(err))
			return exitOther
		}
		return exitClean
	}
	load, serve := config.LoadCompanion, runCompanion
	if len(args) > 0 && args[0] == commandBootstrap {
		load, serve, args = config.LoadBootstrap, runBootstrap, args[1:]
	}
	cfg, err := load(args, os.LookupEnv)
	switch {
	case err != nil:
		_, _ = fmt.Fprintln(stderr, err)
		return exitConfig
	case cfg.Help:
		return printed(config.CompanionUsage(stdout))
	case cfg.Version:
		_, err := fmt.Fprintf(stdout, "podplane-injector %s (%s)\n", version, revision)
		return printed(err)
	}
	log := hclog.New(&hclog.LoggerOptions{
		Name:       "podplane-injector",
		Level:      hclog.LevelFromString(cfg.Logging.Level),
		JSONFormat: cfg.Logging.JSON,
		Output:     stderr,
	})
	for _, warning := range cfg.Warnings {
		log.Warn(warning)
	}
	if err := serve(ctx, cfg, log, stdout); err != nil {
		log.Error("ended", "error", oneLine(err))
		return exitOther
	}
	return exitClean
}

// runCompanion runs the webhook and the registrar.
func runCompanion(ctx context.Context, cfg *config.Companion, log hclog.Logger, _ io.Writer) error {
	// Kubernetes' client library has but this process-wide logger.
	klog.SetLogger(companion.Logr(log.Named("kubernetes")))
	limitMemory(log)
	log.Info("starting", "version", version, "namespace", cfg.Namespace)
	c, err := companion.New(companion.Options{
		Config: cfg, Version: version, Revision: revision, Log: log,
	})
	if err != nil {
		return err
	}
	if err := c.Run(ctx); err != nil {
		return err
	}
	log.Info("ended")
	return nil
}

// runBootstrap makes what is needed of ACLs and prints what it did.
func runBootstrap(ctx context.Context, cfg *config.Companion, log hclog.Logger, stdout io.Writer) error {
	steps, err := companion.BootstrapACL(ctx, cfg, log)
	for _, step := range steps {
		if _, printErr := fmt.Fprintln(stdout, step); printErr != nil {
			return errors.Join(err, printErr)
		}
	}
	return err
}

// limitMemory tells the garbage collector how much memory the container has,
// unless GOMEMLIMIT does.
func limitMemory(log hclog.Logger) {
	if _, given := os.LookupEnv("GOMEMLIMIT"); given {
		return
	}
	const part = 0.9 // the rest is what Go does not count
	limit, err := memlimit.ApplyRatio(memlimit.FromCgroup, part)()
	if err != nil { // no limit, or no cgroup to be seen
		log.Debug("memory of the container is not limited", "reason", err)
		return
	}
	debug.SetMemoryLimit(int64(min(limit, math.MaxInt64)))
	log.Debug("memory limit of the go runtime", "bytes", limit)
}

func printed(err error) int {
	if err != nil {
		return exitOther
	}
	return exitClean
}

// oneLine keeps the last line of the log one line.
func oneLine(err error) string { return strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ") }
