// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// user is that of the image.
const user = "65532"

// contained inspects a running dataplane: its user, its root, and what is not in its image.
func (c *check) contained(ctx context.Context) (string, error) {
	const service = "api-dataplane"
	id, err := c.project.container(ctx, service)
	if err != nil {
		return "", err
	}
	settings, err := c.project.inspect(ctx, service, "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}}")
	if err != nil {
		return "", err
	}
	if want := user + ":" + user + " true [ALL]"; settings != want {
		return "", fmt.Errorf("user, read-only root and capabilities are %s, not %s", settings, want)
	}
	if err := errors.Join(c.processes(ctx, id), c.readOnly(ctx, id), c.noShell(ctx, id)); err != nil {
		return "", err
	}
	envoy, err := c.project.inspect(ctx, service, `{{index .Config.Labels "podplane.envoy"}}`)
	if err != nil {
		return "", err
	}
	return "podplane and Envoy run as user " + user + ", the root is read-only, there is no shell; " + envoy, nil
}

// processes looks at who the processes really run as.
func (c *check) processes(ctx context.Context, id string) error {
	list, err := c.project.docker.Run(ctx, "top", id, "-eo", "pid,uid,args")
	if err != nil {
		return err
	}
	found := make(map[string]bool)
	for line := range strings.Lines(list) {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[0] == "PID" {
			continue
		}
		if fields[1] != user {
			return fmt.Errorf("%s runs as user %s", fields[2], fields[1])
		}
		found[filepath.Base(fields[2])] = true
	}
	if !found["podplane"] || !found["envoy"] {
		return fmt.Errorf("podplane and envoy are not both among the processes:\n%s", list)
	}
	return nil
}

// readOnly tries to write, and asks whether anything differs from the image.
func (c *check) readOnly(ctx context.Context, id string) error {
	file, err := os.CreateTemp("", "podplane-check-")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	if err := file.Close(); err != nil {
		return err
	}
	if _, err := c.project.docker.Run(ctx, "cp", file.Name(), id+":/usr/local/bin/"); err == nil {
		return errors.New("a file could be copied into the root")
	} else if !strings.Contains(err.Error(), "read-only") {
		return err
	}
	changes, err := c.project.docker.Run(ctx, "diff", id)
	if err != nil {
		return err
	}
	for line := range strings.Lines(changes) {
		// The places on which the service file is mounted.
		if path := strings.TrimSpace(line[1:]); !strings.HasPrefix("/etc/podplane/service.hcl", path) {
			return fmt.Errorf("the container differs from its image: %s", line)
		}
	}
	return nil
}

func (c *check) noShell(ctx context.Context, id string) error {
	for _, shell := range []string{"sh", "/bin/sh", "/bin/bash", "/busybox/sh"} {
		if _, err := c.project.docker.Run(ctx, "exec", id, shell, "-c", ":"); err == nil {
			return fmt.Errorf("there is a shell: %s", shell)
		}
	}
	// The other name of the binary, and that exec works at all.
	said, err := c.project.docker.Run(ctx, "exec", id, "consul-dataplane", "-version")
	if err == nil && !strings.HasPrefix(said, "podplane ") {
		err = errors.New("consul-dataplane -version says: " + said)
	}
	return err
}
