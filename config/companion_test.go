// SPDX-License-Identifier: MPL-2.0

package config

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

// serve are the arguments that a companion needs at least.
func serve(more ...string) []string {
	return append([]string{"-consul-addresses=consul.example", "-image=podplane:1"}, more...)
}

func TestCompanionTable(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, s := range CompanionSettings() {
		for _, name := range []string{"-" + s.Flag, "$" + s.Env, "." + s.Key} {
			if len(name) > 1 && seen[name] {
				t.Errorf("%s is there twice", name)
			}
			seen[name] = true
		}
		if s.Help == "" || s.Group == "" {
			t.Errorf("-%s is without help or group", s.Flag)
		}
		if strings.Contains(s.Help, "Envoy alike") {
			t.Errorf("-%s speaks of the sidecar", s.Flag)
		}
	}
	for line := range strings.SplitSeq(CompanionMarkdown(), "\n") {
		if strings.HasPrefix(line, "|") && strings.Count(line, "|") != 6 {
			t.Errorf("not five columns: %s", line)
		}
	}
	var help bytes.Buffer
	if err := CompanionUsage(&help); err != nil || !strings.Contains(help.String(), "PODPLANE_INJECTOR_CONSUL_ADDRESSES") {
		t.Errorf("the help: %v", err)
	}
}

// TestCompanionFields has each setting fill a field of its own.
func TestCompanionFields(t *testing.T) {
	t.Parallel()
	for _, s := range CompanionSettings() {
		if s.AliasOf != "" || s.Flag == "config-file" {
			continue
		}
		c := &Companion{}
		common := &Config{}
		var row Setting
		for _, r := range companionTable(c) {
			if r.Flag == s.Flag {
				row = r
			}
		}
		var stored bool
		for _, text := range []string{"true", "7", "2000", "login", "debug", "1h", "127.0.0.1:80", "/x", "files", "a=b", "Always", "1Gi", "http://h"} {
			if row.bind(common).set(text) == nil {
				stored = true
				break
			}
		}
		c.adopt(common)
		if !stored || reflect.ValueOf(*c).IsZero() {
			t.Errorf("-%s fills nothing", s.Flag)
		}
	}
}

func TestLoadCompanion(t *testing.T) {
	t.Parallel()
	file := writeFile(t, "c.json", `{"consulHttpPort": 1234, "denyNamespaces": ["a", "b"], "logLevel": "warn"}`)
	c, err := LoadCompanion(serve("-config-file", file, "-log-level=debug", "-allow-namespaces="), env{
		"PODPLANE_INJECTOR_CONSUL_HTTP_PORT": "4321", "PODPLANE_INJECTOR_CONSUL_TOKEN": token, "PODPLANE_INJECTOR_CONSUL_CREDENTIAL_TYPE": "static",
	}.lookup)
	if err != nil {
		t.Fatal(err)
	}
	if c.Consul.HTTPPort != 4321 || c.Logging.Level != "debug" || len(c.Inject.DenyNamespaces) != 2 || c.Inject.AllowNamespaces != nil {
		t.Errorf("got %+v", c)
	}
	if c.Consul.Credentials.Static.Token.Reveal() != token || c.Webhook.LeafTTL != 72*time.Hour || !c.LeaderElection {
		t.Errorf("got %+v", c)
	}
	if d := DefaultCompanion(); d.Defaults.ShutdownGrace != 30*time.Second || d.Logging.Level != "info" {
		t.Errorf("defaults are %+v", d)
	}
	if c, err := LoadCompanion([]string{"-what", "-help"}, env{}.lookup); err != nil || !c.Help {
		t.Errorf("no help for a broken command line: %v", err)
	}
}

func TestLoadCompanionRefuses(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args  []string
		parts []string
	}{
		"token as flag":     {serve("-consul-credential-type=static", "-consul-token="+token), []string{"flag -consul-token: ", "-consul-token-path"}},
		"no token":          {serve("-consul-credential-type=static"), []string{"-consul-token", "not set"}},
		"no auth method":    {serve("-consul-credential-type=login"), []string{"-consul-login-auth-method", "not set"}},
		"no files":          {serve("-cert-mode=files", "-cert-file=a"), []string{"-key-file", "because the certificate comes from files"}},
		"short ca":          {serve("-cert-ca-ttl=1h"), []string{"four times"}},
		"compat":            {serve("-compat"), []string{"-companion-image"}},
		"no image":          {[]string{"-consul-addresses=a"}, []string{"-image", "is required"}},
		"one tls file":      {serve("-consul-tls-cert=a"), []string{"-consul-tls-key"}},
		"bad address":       {serve("-webhook-addr=here"), []string{"host:port"}},
		"named host":        {serve("-health-addr=host:1"), []string{"host:port"}},
		"bad quantity":      {serve("-default-sidecar-proxy-cpu-limit=much"), []string{`"100m" or "64Mi"`}},
		"arguments":         {serve("--", "x"), []string{"nothing to pass on"}},
		"sidecar's setting": {serve("-proxy-id=a"), []string{"unknown flag"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantOne(t, companionProblems(t, LoadCompanion, tc.args), tc.parts...)
		})
	}
}

func companionProblems(t *testing.T, load func([]string, func(string) (string, bool)) (*Companion, error), args []string) []string {
	t.Helper()
	_, err := load(args, env{}.lookup)
	var all *Error
	if !errors.As(err, &all) {
		t.Fatalf("error %v, want an *Error", err)
	}
	var lines []string
	for _, p := range all.Problems {
		lines = append(lines, p.String())
	}
	if strings.Contains(err.Error(), token) {
		t.Error("the token is shown")
	}
	return lines
}

func TestCompanionWarns(t *testing.T) {
	t.Parallel()
	c, err := LoadCompanion(serve("-consul-namespace-mirroring", "-consul-token-path=x", "-token-cleanup"), env{}.lookup)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) != 3 {
		t.Errorf("warnings: %q", c.Warnings)
	}
}

func TestLoadBootstrap(t *testing.T) {
	t.Parallel()
	args := []string{"-consul-addresses=a", "-kubernetes-host=https://k", "-max-token-ttl=1h"}
	c, err := LoadBootstrap(append(args, "-bootstrap-token-path=x"), env{}.lookup)
	if err != nil || c.Bootstrap.MaxTokenTTL != time.Hour || c.Bootstrap.AuthMethod != "podplane" {
		t.Errorf("%+v, %v", c, err)
	}
	wantOne(t, companionProblems(t, LoadBootstrap, append(args, "-bootstrap-token="+token)), "everybody can read")
	wantOne(t, companionProblems(t, LoadBootstrap, args), "-bootstrap-token", "not set")
	if got := companionProblems(t, LoadBootstrap, nil); len(got) != 3 {
		t.Errorf("problems: %q", got)
	}
}
