// SPDX-License-Identifier: MPL-2.0

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"sigs.k8s.io/yaml"

	"podplane/config"
	"podplane/selfregister"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const folder = "../../deploy/compose"

type composeFile struct {
	Services map[string]struct {
		Image       string
		NetworkMode string   `json:"network_mode"`
		ReadOnly    bool     `json:"read_only"`
		CapDrop     []string `json:"cap_drop"`
		Environment map[string]string
		Volumes     []string
		Ports       []string
	}
}

func readCompose(t *testing.T) composeFile {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder, "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file composeFile
	if err := yaml.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	return file
}

// Podplane takes every variable that a dataplane is given, and its service file.
func TestDataplanesAreConfigured(t *testing.T) {
	t.Parallel()
	seen := 0
	for name, service := range readCompose(t).Services {
		app, isDataplane := strings.CutSuffix(name, "-dataplane")
		if !isDataplane {
			continue
		}
		seen++
		lookup := func(variable string) (string, bool) {
			value, ok := service.Environment[variable]
			return value, ok
		}
		cfg, err := config.Load(nil, lookup)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(cfg.Warnings) > 0 {
			t.Errorf("%s: %q", name, cfg.Warnings)
		}
		for variable := range service.Environment {
			if !strings.Contains(config.Markdown(), "`"+variable+"`") {
				t.Errorf("%s: podplane knows no %s", name, variable)
			}
		}
		file := filepath.Join(folder, "services", app+".hcl")
		definition, err := selfregister.Load(file)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if definition.Name != app {
			t.Errorf("%s registers %s", name, definition.Name)
		}
		if want := "./services/" + app + ".hcl:" + cfg.Registration.ServiceFile + ":ro"; !slices.Contains(service.Volumes, want) {
			t.Errorf("%s has %q, without %q", name, service.Volumes, want)
		}
	}
	if seen != 3 {
		t.Errorf("there are %d dataplanes", seen)
	}
}

func TestContainersAreConfined(t *testing.T) {
	t.Parallel()
	for name, service := range readCompose(t).Services {
		if name == "consul" { // its image writes at its start
			continue
		}
		if !service.ReadOnly || !slices.Equal(service.CapDrop, []string{"ALL"}) {
			t.Errorf("%s: read-only root %t, dropped capabilities %q", name, service.ReadOnly, service.CapDrop)
		}
	}
	for name, service := range readCompose(t).Services {
		for _, port := range service.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s is published on %s", name, port)
			}
		}
	}
}

// Everything that compose.yaml takes from outside is given by `make compose`, and so tested by it.
func TestVariablesAreGiven(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join(folder, "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	given := variables("tag", map[string]string{"CONSUL_IMAGE": "c", "PROMETHEUS_IMAGE": "p", "CURL_IMAGE": "u"})
	for _, m := range regexp.MustCompile(`\$\{(\w+)`).FindAllStringSubmatch(string(data), -1) {
		if !slices.ContainsFunc(given, func(g string) bool { return strings.HasPrefix(g, m[1]+"=") }) {
			t.Errorf("%s is not given; there are %q", m[1], given)
		}
	}
}
