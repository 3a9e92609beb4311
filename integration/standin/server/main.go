// SPDX-License-Identifier: MPL-2.0

package server

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"

	"podplane/integration/standin/cli"
	"podplane/integration/standin/server/spdlog"
	"podplane/integration/standin/traffic"
)

// Exit codes of Envoy.
const (
	exitOK      = 0
	exitFailure = 1
)

// Process is what a program is given by its surroundings.
type Process struct {
	Args           []string // without the program's name
	Stdout, Stderr io.Writer
}

// Main is the whole program. It ends with ctx, which stands for SIGTERM and
// SIGINT, and returns the exit code.
func Main(ctx context.Context, p Process) int {
	options, err := cli.Parse(p.Args)
	if err != nil {
		say(p.Stderr, err.Error())
		return exitFailure
	}
	switch {
	case options.Help:
		if cli.Usage(p.Stdout) != nil {
			return exitFailure
		}
		return exitOK
	case options.Version:
		say(p.Stdout, "\nenvoy  version: "+Version+"\n")
		return exitOK
	case options.HotRestartVersion:
		say(p.Stderr, hotRestartVersion)
		return exitOK
	}
	output, closeLog, err := logOutput(options.LogPath, p.Stderr)
	if err != nil {
		say(p.Stderr, err.Error())
		return exitFailure
	}
	defer closeLog()
	logs := spdlog.New(spdlog.Config{
		Output: output, Format: options.LogFormat, Escape: options.LogFormatEscaped,
		Level: options.LogLevel, Levels: options.ComponentLevels, Components: cli.Components(),
	})
	if err := serve(ctx, options, logs); err != nil {
		logs.Critical("main", fmt.Sprintf("error initializing config '%s': %s", options.ConfigPath, err))
		logs.Logger("main").Info("exiting")
		say(p.Stderr, err.Error())
		return exitFailure
	}
	if options.Mode == cli.ModeValidate {
		say(p.Stdout, fmt.Sprintf("configuration '%s' OK", options.ConfigPath))
	}
	logs.Logger("main").Info("exiting")
	return exitOK
}

func say(w io.Writer, text string) {
	// There is nowhere left to report that standard error cannot be written.
	_, _ = io.WriteString(w, text+"\n")
}

func logOutput(path string, otherwise io.Writer) (io.Writer, func(), error) {
	if path == "" {
		return otherwise, func() {}, nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("error: failed to open log-file '%s'. %w", path, err)
	}
	return f, func() { _ = f.Close() }, nil
}

// serve does what --mode asks for.
func serve(ctx context.Context, o cli.Options, logs *spdlog.Logs) error {
	logger := logs.Logger("main")
	logger.Info("initializing epoch", "epoch", o.RestartEpoch, "base_id", o.BaseID, "stand_in_for_envoy", release)
	b, err := Load(o)
	if err != nil {
		return err
	}
	if o.Mode == cli.ModeValidate {
		return Validate(ctx, b, o, logs)
	}
	s, err := New(ctx, Config{Options: o, Bootstrap: b, Logs: logs})
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

// closeTimeout bounds the end of the data path: Envoy drops connections when it
// exits.
const closeTimeout = 2 * time.Second

// closeEngine ends a data path, also when ctx has ended already.
func closeEngine(ctx context.Context, e *traffic.Engine, logger hclog.Logger) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	if err := e.Close(ctx); err != nil {
		logger.Warn("close the data path", "error", err)
	}
}
