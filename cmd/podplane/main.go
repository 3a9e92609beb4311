// SPDX-License-Identifier: MPL-2.0

// Command podplane is the dataplane of one pod in a Consul service mesh: it
// starts and supervises Envoy, carries its configuration from the Consul
// servers, merges metrics, and gives the pod a lifecycle. See the README.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/hashicorp/go-hclog"

	"podplane/config"
	"podplane/dataplane"
)

// version and revision are set by the linker.
var (
	version  = "dev"
	revision = "unknown"
)

func main() {
	if len(os.Args) > 1 {
		if command, ok := commands()[os.Args[1]]; ok {
			os.Exit(command.main(context.Background(), os.Args[2:]))
		}
	}
	// Signals are caught from the first moment on: one that comes during the
	// start is a wish for a clean end like any other.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr, signals))
}

func run(args []string, stdout, stderr io.Writer, signals <-chan os.Signal) int {
	cfg, err := config.Load(args, os.LookupEnv)
	switch {
	case err != nil:
		return refuse(err, stdout, stderr)
	case cfg.Help:
		return printed(config.Usage(stdout))
	case cfg.Version:
		_, err := fmt.Fprintf(stdout, "podplane %s (%s)\n", version, revision)
		return printed(err)
	case cfg.CheckProxyHealth:
		return checkHealth(cfg.Envoy, stdout)
	}
	log := hclog.New(&hclog.LoggerOptions{
		Name:       "podplane",
		Level:      hclog.LevelFromString(cfg.Logging.Level),
		JSONFormat: cfg.Logging.JSON,
		Output:     stderr,
	})
	for _, warning := range cfg.Warnings {
		log.Warn(warning)
	}
	limitMemory(cfg.Mode, log)
	limitProcessors(cfg.Mode)
	log.Info("starting", append([]any{"version", version, "mode", string(cfg.Mode)}, subject(cfg)...)...)
	d, err := dataplane.New(dataplane.Options{
		Config:   cfg,
		Version:  version,
		Revision: revision,
		Signals:  signals,
		Stdout:   stdout,
		Log:      log,
	})
	if err == nil {
		err = d.Run(context.Background())
	}
	code := dataplane.ExitCode(err)
	if err != nil {
		log.Error("ended", "error", oneLine(err), "exit_code", code)
	} else {
		log.Info("ended", "exit_code", code)
	}
	return code
}

// subject is for whom this is, as far as it is known before any file is read, as
// keys and values of the log.
func subject(cfg *config.Config) []any {
	switch {
	case cfg.Registration.ServiceFile != "": // has the proxy's ID in it
		return []any{"service_file", cfg.Registration.ServiceFile}
	case cfg.Proxy.ID != "":
		return []any{"proxy_id", cfg.Proxy.ID}
	default: // mode dns-proxy
		return nil
	}
}

// refuse prints why the configuration is refused and gives the exit code. A health
// check has but 0 and 1, since Docker reserves 2, and one line on standard output:
// https://docs.docker.com/reference/dockerfile/#healthcheck.
func refuse(err error, stdout, stderr io.Writer) int {
	if settings, ok := errors.AsType[*config.Error](err); ok && settings.HealthCheck {
		_, _ = fmt.Fprintln(stdout, oneLine(err))
		return dataplane.ExitOther
	}
	_, _ = fmt.Fprintln(stderr, err)
	return dataplane.ExitCode(err)
}

func printed(err error) int {
	if err != nil {
		return dataplane.ExitOther
	}
	return dataplane.ExitClean
}

// checkHealth prints one line on Envoy's health.
func checkHealth(c config.Envoy, stdout io.Writer) int {
	if err := dataplane.CheckProxyHealth(context.Background(), c); err != nil {
		_, _ = fmt.Fprintln(stdout, oneLine(err))
		return dataplane.ExitOther
	}
	_, err := fmt.Fprintln(stdout, "envoy is LIVE")
	return printed(err)
}

// oneLine is an error for a place that has room for a line: some list several
// problems, one a line, and some repeat what a peer said.
func oneLine(err error) string {
	lines := strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' })
	return strings.Join(lines, "; ")
}
