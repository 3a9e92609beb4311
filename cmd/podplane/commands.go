// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"podplane/config"
	"podplane/control"
	"podplane/dataplane"
)

// invocation is one call of a subcommand.
type invocation struct {
	client  *control.Client
	timeout time.Duration // 0: none
	lasting string        // loglevel
	level   string        // loglevel
	argv    []string      // exec
	stdin   io.Reader
	stdout  io.Writer
	stderr  io.Writer
	signals <-chan os.Signal
}

// command is a subcommand: it talks to the podplane that runs beside it.
type command struct {
	name     string
	synopsis string
	help     string
	// timeout is the default of -timeout; empty where there is no such flag.
	timeout string
	run     func(*invocation, context.Context) (int, error)
}

// commands are all subcommands by name.
func commands() map[string]command {
	all := map[string]command{}
	for _, c := range []command{
		{
			name: "wait", synopsis: "[-timeout 1m]", timeout: "1m", run: (*invocation).wait,
			help: "Wait until podplane is ready.",
		},
		{
			name: "drain", synopsis: "[-timeout 0s]", timeout: "0s", run: (*invocation).drain,
			help: "Ask for a graceful shutdown, and wait until Envoy is gone.",
		},
		{
			name: "quit", run: (*invocation).quit,
			help: "End Envoy and podplane at once.",
		},
		{
			name: "status", run: (*invocation).status,
			help: "Print what /status tells, as JSON.",
		},
		{
			name: "exec", synopsis: "[-timeout 1m] -- COMMAND ARGUMENTS…", timeout: "1m", run: (*invocation).exec,
			help: "Wait until podplane is ready, run the command, pass signals on to it, ask for a\n" +
				"graceful shutdown at its end, and exit with the command's code.",
		},
		{
			name: "loglevel", synopsis: "LEVEL [-for 5m]", run: (*invocation).logLevel,
			help: "Let podplane and Envoy log at another level for a while: trace, debug, info,\nwarn, error or off.",
		},
	} {
		all[c.name] = c
	}
	return all
}

// main runs the subcommand with the process's own streams and signals.
func (c command) main(ctx context.Context, args []string) int {
	signals := make(chan os.Signal, 16)
	if c.name == "exec" {
		// Those with which somebody talks to a process. What the runtime sends to
		// itself, and what a terminal sends to the whole group, is not passed on.
		signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	}
	return c.call(ctx, args, &invocation{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, signals: signals})
}

// call parses the arguments and runs the subcommand. An error is one line on
// standard error.
func (c command) call(ctx context.Context, args []string, i *invocation) int {
	if len(args) > 0 && (args[0] == "-h" || args[0] == "-help" || args[0] == "--help") {
		_, err := fmt.Fprint(i.stdout, c.usage())
		return printed(err)
	}
	if err := c.parse(args, i); err != nil {
		_, _ = fmt.Fprintf(i.stderr, "podplane %s: %s\n", c.name, oneLine(err))
		return dataplane.ExitConfig
	}
	if i.timeout > 0 && c.name != "exec" { // where it bounds the wait, not the command
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, i.timeout)
		defer cancel()
	}
	code, err := c.run(i, ctx)
	if err != nil {
		_, _ = fmt.Fprintf(i.stderr, "podplane %s: %s\n", c.name, oneLine(err))
	}
	return code
}

func (c command) usage() string {
	return fmt.Sprintf(`Usage: podplane %s

%s

Where the podplane is that this talks to, say -graceful-addr, -graceful-port and
-graceful-shutdown-path, their environment variables, or -config-file, as for
podplane itself.
`, strings.TrimSpace(c.name+" "+c.synopsis), c.help)
}

// parse takes out what is the subcommand's own and leaves the rest to package
// config.
func (c command) parse(args []string, i *invocation) error {
	var err error
	if c.name == "exec" {
		if args, i.argv, err = splitCommand(args); err != nil {
			return err
		}
	}
	if c.timeout != "" {
		var text string
		if text, args, err = take(args, "timeout", c.timeout); err != nil {
			return err
		}
		if i.timeout, err = time.ParseDuration(text); err != nil || i.timeout < 0 {
			return fmt.Errorf("-timeout %s is no time such as 90s or 5m", text)
		}
	}
	if c.name == "loglevel" {
		if i.lasting, args, err = take(args, "for", ""); err != nil {
			return err
		}
		if i.level, args, err = positional(args, "level"); err != nil {
			return err
		}
	}
	where, err := config.LoadLifecycle(args, os.LookupEnv)
	if err != nil {
		return err
	}
	i.client, err = control.NewClient(control.Endpoint{Addr: where.Addr, Port: where.Port, ShutdownPath: where.ShutdownPath})
	return err
}

func (i *invocation) wait(ctx context.Context) (int, error) {
	return outcome(i.client.Wait(ctx))
}

func (i *invocation) drain(ctx context.Context) (int, error) { return i.show(i.client.Drain(ctx)) }

func (i *invocation) quit(ctx context.Context) (int, error) { return i.show(i.client.Quit(ctx)) }

func (i *invocation) status(ctx context.Context) (int, error) { return i.show(i.client.Status(ctx)) }

func (i *invocation) logLevel(ctx context.Context) (int, error) {
	return i.show(i.client.LogLevel(ctx, i.level, i.lasting))
}

func (i *invocation) exec(ctx context.Context) (int, error) {
	cmd := control.Command{Args: i.argv, Stdin: i.stdin, Stdout: i.stdout, Stderr: i.stderr, Signals: i.signals}
	return i.client.Exec(ctx, cmd, func(ctx context.Context) error {
		if i.timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, i.timeout)
			defer cancel()
		}
		return i.client.Wait(ctx)
	})
}

// show prints an answer.
func (i *invocation) show(answer []byte, err error) (int, error) {
	if err == nil {
		_, err = i.stdout.Write(answer)
	}
	return outcome(err)
}

func outcome(err error) (int, error) { return printed(err), err }
