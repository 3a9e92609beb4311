// SPDX-License-Identifier: MPL-2.0

package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"podplane/integration/mesh"
)

// TestRestart kills podplane, which ends Envoy, and starts it again.
func TestRestart(t *testing.T) {
	t.Parallel()
	m := newMesh(t, three)
	// Not t.TempDir, whose paths are longer than the address of a socket may be.
	dir, err := os.MkdirTemp("", "podplane-xds-") //nolint:usetesting // the paths, see above
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for name, args := range map[string][]string{
		"defaults":     nil,
		"nocache":      {"-xds-cache", "off"},
		"unwatched":    {"-server-watch-disabled"},
		"stale-socket": {"-xds-bind-addr", "unix://" + filepath.Join(dir, "xds.sock")},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
			defer cancel()
			pod, err := m.Start(ctx, mesh.PodSpec{Name: name, Upstreams: []string{canary}, Args: args})
			must(t, err, pod.WaitReady(ctx))
			expectChange(ctx, t, m.Consul.Client, 3*time.Second, pod)
			envoy := pod.EnvoyPID(ctx)
			pod.Dataplane().Kill()
			within(t, time.Second, "envoy has ended", hasEnded(envoy))
			must(t, pod.StartDataplane(ctx), pod.WaitReady(ctx))
			expectChange(ctx, t, m.Consul.Client, 3*time.Second, pod)
			expectStreamKept(ctx, t, pod)
			must(t, pod.Dataplane().Stop(patience))
			expectExit(t, pod, 0)
		})
	}
}

// hasEnded tells whether a process runs no more. One whose parent was killed
// stays as a zombie until the system's init looks after it, whenever that is.
func hasEnded(pid int) func(context.Context) bool {
	return func(context.Context) bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, fields, _ := strings.Cut(string(stat), ") ") // after the name
		return err != nil || strings.HasPrefix(fields, "Z")
	}
}
