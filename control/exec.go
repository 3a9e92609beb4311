// SPDX-License-Identifier: MPL-2.0

package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"syscall"

	"podplane/envoy"
)

// The exit codes of [Exec] other than the command's own; a shell and env(1) use
// the same.
const (
	ExitNotRun     = 125 // the proxy was not ready, the command did not run
	ExitNotAllowed = 126 // the command cannot be executed
	ExitNotFound   = 127 // there is no such command
	exitSignal     = 128 // plus the number of the signal that ended the command
)

// Command is what Exec runs.
type Command struct {
	// Args are the program and its arguments. Required.
	Args []string
	// Stdin, Stdout and Stderr are the command's.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Signals are passed on to the command.
	Signals <-chan os.Signal
}

// Exec runs a command within the life of the proxy: it waits until ready returns,
// runs the command, passes signals on, and asks for a graceful shutdown when the
// command has ended. It gives the command's exit code, or one of its own and an
// error that says why. A signal that comes before the command runs ends Exec.
//
// The error may be non-nil with the command's own code: then it is the shutdown
// that could not be asked for.
func (c *Client) Exec(ctx context.Context, cmd Command, ready func(context.Context) error) (int, error) {
	sig, err := awaitReady(ctx, cmd.Signals, ready)
	switch {
	case sig != nil:
		return signalCode(sig), fmt.Errorf("%s before the command was run", sig)
	case err != nil:
		return ExitNotRun, err
	}
	code, err := cmd.runAndReap(ctx)
	if _, shutdownErr := c.Shutdown(context.WithoutCancel(ctx)); shutdownErr != nil {
		err = errors.Join(err, fmt.Errorf("shut down the proxy: %w", shutdownErr))
	}
	return code, err
}

// awaitReady waits for ready, or for a signal, which it gives.
func awaitReady(ctx context.Context, signals <-chan os.Signal, ready func(context.Context) error) (os.Signal, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- ready(ctx) }()
	select {
	case err := <-done:
		return nil, err
	case sig := <-signals:
		cancel()
		<-done
		return sig, nil
	}
}

// runAndReap runs the command to its end. Exec is PID 1 of the application's
// container as a rule, so it reaps what the command leaves behind.
func (c Command) runAndReap(ctx context.Context) (int, error) {
	reaping, stop := context.WithCancel(ctx)
	reaped := make(chan struct{})
	go func() {
		defer close(reaped)
		_ = envoy.NewReaper(nil).Run(reaping) // always nil
	}()
	defer func() {
		stop()
		<-reaped
	}()
	return c.run(ctx)
}

// run runs the command to its end.
func (c Command) run(ctx context.Context) (int, error) {
	// Not CommandContext: what ends the command is a signal that was meant for it.
	child := exec.Command(c.Args[0], c.Args[1:]...) //nolint:gosec,noctx // running what it is told to is the purpose
	child.Stdin, child.Stdout, child.Stderr = c.Stdin, c.Stdout, c.Stderr
	if err := child.Start(); err != nil {
		code := ExitNotAllowed
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
			code = ExitNotFound
		}
		return code, fmt.Errorf("run %s: %w", c.Args[0], err)
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	for {
		select {
		case err := <-ended:
			return exitCode(child, err)
		case sig := <-c.Signals:
			_ = child.Process.Signal(sig) // an error means that it has just ended
		case <-ctx.Done():
			_ = child.Process.Kill()
			code, _ := exitCode(child, <-ended)
			return code, context.Cause(ctx)
		}
	}
}

// exitCode translates how the command ended, by the rules of a shell.
func exitCode(child *exec.Cmd, err error) (int, error) {
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok && child.ProcessState == nil {
		return ExitNotRun, fmt.Errorf("wait for %s: %w", child.Path, err)
	}
	if status, ok := child.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return signalCode(status.Signal()), nil
	}
	return child.ProcessState.ExitCode(), nil
}

func signalCode(sig os.Signal) int {
	number, ok := sig.(syscall.Signal)
	if !ok {
		return ExitNotRun
	}
	return exitSignal + int(number)
}
