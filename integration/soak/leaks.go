// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"podplane/integration/mesh"
)

// selfPID stands for this program.
const selfPID = 0

// descriptorsOf lists what a process has open.
func descriptorsOf(pid int) []string {
	process := "self"
	if pid != selfPID {
		process = fmt.Sprint(pid)
	}
	paths, _ := filepath.Glob("/proc/" + process + "/fd/*") // the pattern is well-formed
	open := make([]string, 0, len(paths))
	for _, path := range paths {
		if target, err := os.Readlink(path); err == nil { // not the one of this look
			open = append(open, target)
		}
	}
	return open
}

// mark is a variable that all inherit that a dataplane starts.
func mark() string { return fmt.Sprintf("PODPLANE_SOAK_OF=%d", os.Getpid()) }

// marked lists the processes that a dataplane has started, itself included.
func marked() []string {
	paths, _ := filepath.Glob("/proc/[0-9]*/environ")
	ours := mark()
	var found []string
	for _, path := range paths {
		// A zombie has no environment; nobody but its parent can do something about it.
		environ, err := os.ReadFile(path)
		if err == nil && slices.Contains(strings.Split(string(environ), "\x00"), ours) {
			found = append(found, filepath.Dir(path))
		}
	}
	return found
}

// tokens counts the ACL tokens that Consul has.
func tokens(ctx context.Context, m *mesh.Mesh) (int, error) {
	var all []struct{}
	err := m.Consul.Client().Get(ctx, "/v1/acl/tokens", &all)
	return len(all), err
}
