// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"podplane/integration/images"
	"podplane/integration/servers"
)

const (
	// downTimeout bounds the taking down, which also runs after an interrupt.
	downTimeout = 2 * time.Minute
	// stopSeconds is how long a container may take to end by itself when everything is taken down.
	stopSeconds = "10"
	// interruptGrace is how long compose may take to end after an interrupt.
	interruptGrace = 15 * time.Second
)

// poll is the pause between two questions to the engine, each of which is a process.
const poll = 200 * time.Millisecond

// project is one run of deploy/compose, under a name of its own.
type project struct {
	name        string
	file        string
	command     []string // compose, version 2 or 1
	environment []string
	docker      images.Docker
}

func newProject(ctx context.Context, environment []string) (*project, error) {
	root, err := servers.ModuleDir(ctx)
	if err != nil {
		return nil, err
	}
	p := &project{
		name:        fmt.Sprintf("podplane-check-%d", os.Getpid()),
		file:        filepath.Join(root, "deploy", "compose", "compose.yaml"),
		environment: environment,
	}
	if _, err := p.docker.Run(ctx, "compose", "version"); err == nil {
		p.command = []string{"docker", "compose"}
		return p, nil
	}
	old, err := exec.LookPath("docker-compose")
	if err != nil {
		return nil, errors.New("there is neither `docker compose` nor docker-compose")
	}
	p.command = []string{old}
	return p, nil
}

// compose runs compose on the project; its output is shown only if it fails.
func (p *project) compose(ctx context.Context, args ...string) error {
	all := append(p.arguments(), args...)
	cmd := exec.CommandContext(ctx, all[0], all[1:]...)
	cmd.Env = append(os.Environ(), p.environment...) // they win over deploy/compose/.env
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = interruptGrace
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("compose %s: %w: %s", args[0], err, strings.TrimSpace(out.String()))
	}
	return nil
}

func (p *project) arguments() []string {
	return append(append([]string{}, p.command...), "--project-name", p.name, "--file", p.file)
}

func downArguments() []string {
	return []string{"down", "--volumes", "--remove-orphans", "--timeout", stopSeconds}
}

// downCommand is for somebody's shell.
func (p *project) downCommand() string {
	return strings.Join(append(append(append([]string{}, p.environment...), p.arguments()...), downArguments()...), " ")
}

// down removes what the project has made: containers, network and volumes.
func (p *project) down(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), downTimeout)
	defer cancel()
	return p.compose(ctx, downArguments()...)
}

// logs shows the end of every container's output, for the report of a failure.
func (p *project) logs(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), downTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.command[0], append(p.arguments()[1:], "logs", "--no-color", "--tail", "40")...)
	cmd.Env = append(os.Environ(), p.environment...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	_ = cmd.Run() // a report of a failure must not fail
}

// container gives the ID of a service's container, whether it runs or not.
func (p *project) container(ctx context.Context, service string) (string, error) {
	id, err := p.docker.Run(ctx, "ps", "--all", "--no-trunc", "--quiet",
		"--filter", "label=com.docker.compose.project="+p.name, "--filter", "label=com.docker.compose.service="+service)
	if err == nil && (id == "" || strings.Contains(id, "\n")) {
		err = fmt.Errorf("service %s has not one container, but %q", service, id)
	}
	return id, err
}

// inspect gives what a Go template makes of a service's container.
func (p *project) inspect(ctx context.Context, service, template string) (string, error) {
	id, err := p.container(ctx, service)
	if err != nil {
		return "", err
	}
	return p.docker.Run(ctx, "container", "inspect", "--format", template, id)
}

// url is where a service's port is on this machine.
func (p *project) url(ctx context.Context, service, port string) (string, error) {
	id, err := p.container(ctx, service)
	if err != nil {
		return "", err
	}
	addr, err := p.docker.Run(ctx, "port", id, port)
	addr, _, _ = strings.Cut(addr, "\n")
	return "http://" + addr, err
}

// until asks the engine again and again until cond holds or ctx is done.
func until(ctx context.Context, cond func(context.Context) bool) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for !cond(ctx) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}
