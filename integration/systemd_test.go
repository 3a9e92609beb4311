// SPDX-License-Identifier: MPL-2.0

package integration

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"podplane/config"
	"podplane/selfregister"
)

const systemdFolder = "../deploy/systemd"

// variables reads NAME=VALUE lines, as systemd does those without quotes.
func variables(text string) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if name, value, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			all[name] = value
		}
	}
	return all
}

// TestSystemdFiles: what is meant to be copied is right: the settings, those in
// the unit included, the service, and the unit, if systemd is there to judge it.
func TestSystemdFiles(t *testing.T) {
	t.Parallel()
	unit, err := os.ReadFile(filepath.Join(systemdFolder, "podplane.service"))
	must(t, err)
	env, err := os.ReadFile(filepath.Join(systemdFolder, "podplane.env"))
	must(t, err)
	settings := variables(string(env))
	for line := range strings.Lines(string(unit)) {
		if assignment, ok := strings.CutPrefix(line, "Environment="); ok {
			assignment = strings.NewReplacer("%d", "/run/credentials/podplane.service", "%t", "/run").Replace(assignment)
			maps.Copy(settings, variables(assignment))
		}
	}
	known := map[string]bool{}
	for _, s := range config.Settings() {
		known[s.Env] = true
	}
	for name := range settings {
		if !known[name] {
			t.Errorf("there is no setting %s", name)
		}
	}
	c, err := config.Load(nil, func(name string) (string, bool) {
		value, ok := settings[name]
		return value, ok
	})
	must(t, err)
	if len(c.Warnings) > 0 {
		t.Errorf("warnings: %q", c.Warnings)
	}
	if c.Registration.ServiceFile == "" || c.XDSServer.Cache != "/run/podplane" {
		t.Errorf("got %+v, %+v", c.Registration, c.XDSServer)
	}
	patience, err := time.ParseDuration(variables(string(unit))["TimeoutStopSec"] + "s")
	must(t, err)
	if patience <= c.Lifecycle.TerminationGracePeriod {
		t.Errorf("systemd kills after %s what ends itself within %s", patience, c.Lifecycle.TerminationGracePeriod)
	}
	definition, err := selfregister.Load(filepath.Join(systemdFolder, "service.hcl"))
	must(t, err)
	if definition.Name != "web" || len(definition.Checks) != 1 || len(definition.Sidecar.Proxy.Upstreams) != 1 {
		t.Errorf("got %+v", definition)
	}
	verifyUnit(t, unit)
}

// verifyUnit has systemd judge the unit, with the binary under test in place of
// one that is installed.
func verifyUnit(t *testing.T, unit []byte) {
	t.Helper()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("systemd is not here to judge the unit")
		return
	}
	path := filepath.Join(t.TempDir(), "podplane.service")
	must(t, os.WriteFile(path, bytes.ReplaceAll(unit, []byte("/usr/local/bin/podplane"), []byte(podplane)), 0o600))
	out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", path).CombinedOutput()
	if err != nil || strings.Contains(string(out), path) {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
