// SPDX-License-Identifier: MPL-2.0

package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"podplane/integration/consultest"
	"podplane/integration/mesh"
)

// TestPID1 runs podplane as the first process of a PID namespace, as in a
// container without dumb-init.
func TestPID1(t *testing.T) {
	t.Parallel()
	unshare, err := exec.LookPath("unshare")
	if err != nil || exec.CommandContext(t.Context(), unshare, "--pid", "--fork", "--mount-proc", "true").Run() != nil {
		t.Skip("no PID namespaces here: they need unshare(1) and the right to use it")
	}
	ctx := bounded(t)
	container := filepath.Join(t.TempDir(), "container")
	must(t, os.WriteFile(container, fmt.Appendf(nil, "#!/bin/sh\nexec '%s' --pid --fork --kill-child --mount-proc '%s' \"$@\"\n", unshare, podplane), 0o700))
	outside := newMesh(t, consultest.Options{})
	m, err := mesh.New(ctx, outside.Consul, container)
	must(t, err)
	t.Cleanup(func() { must(t, m.Close()) })

	pod, err := m.Start(ctx, mesh.PodSpec{Name: "first", Args: []string{
		"-log-level", "debug",
		// Envoy's start leaves an orphan behind.
		"-envoy-executable-path", script(t, m, `(sleep 0.1 &)`+"\n"+`exec "$ENVOY" "$@"`),
	}})
	must(t, err, pod.WaitReady(ctx))
	var first struct {
		PID int `json:"pid"`
	}
	must(t, pod.Status(ctx, "podplane", &first))
	if first.PID != 1 {
		t.Fatalf("podplane is process %d", first.PID)
	}
	children := childrenOf(t, pod.Dataplane().PID())
	if len(children) != 1 {
		t.Fatalf("%d processes in the place of podplane", len(children))
	}
	self := children[0].pid
	expectLine(t, pod, "orphan reaped")
	for _, child := range childrenOf(t, self) {
		if child.state == "Z" {
			t.Errorf("process %d is a zombie", child.pid)
		}
	}

	// The default action of SIGTERM does not end a PID 1.
	must(t, syscall.Kill(self, syscall.SIGTERM))
	expectExit(t, pod, 0)
}

// child is a process as its parent sees it.
type child struct {
	pid   int
	state string
}

// childrenOf lists the children of a process.
func childrenOf(t *testing.T, parent int) []child {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	must(t, err)
	var children []child
	for _, path := range paths {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // gone meanwhile
		}
		var c child
		_, _ = fmt.Sscan(string(stat), &c.pid)
		_, rest, _ := strings.Cut(string(stat), ") ") // the name, in brackets, is none of those in use here
		fields := strings.Fields(rest)
		if c.state = fields[0]; fields[1] == fmt.Sprint(parent) {
			children = append(children, c)
		}
	}
	return children
}
