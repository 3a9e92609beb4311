// SPDX-License-Identifier: MPL-2.0

package dataplane

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"podplane/config"
	"podplane/envoy"
	"podplane/serverconn"
	"podplane/xdsproxy"
)

// TestWaysOut has Run end by what it cannot heal.
func TestWaysOut(t *testing.T) {
	t.Parallel()
	login := []string{"-credential-type=login", "-login-auth-method=k8s", "-login-bearer-token=the-bearer"}
	static := []string{"-credential-type=static", "-static-token=the-token"}
	for name, tc := range map[string]struct {
		consul *fakeConsul
		args   []string
		code   int
		words  []string
	}{
		"token unknown": {
			consul: &fakeConsul{token: "other"}, args: static,
			code: ExitRefused, words: []string{"ACL not found"},
		},
		"login refused": {
			consul: &fakeConsul{token: "other", login: refusing(codes.PermissionDenied, "not on the list")}, args: login,
			code: ExitRefused, words: []string{"auth method k8s", "not on the list"},
		},
		"may not read the proxy": {
			consul: &fakeConsul{token: "the-token", bootstrap: refusing(codes.PermissionDenied, "lacks service:read")}, args: static,
			code: ExitRefused, words: []string{"lacks service:read"},
		},
		"xds refused": {
			consul: &fakeConsul{ads: refusing(codes.InvalidArgument, "envoy 1.2.3 is too old")},
			code:   ExitXDS, words: []string{"envoy 1.2.3 is too old"},
		},
		"malformed proxy config": {
			consul: &fakeConsul{proxyConfig: map[string]any{"envoy_extra_static_clusters_json": `{"name": `}},
			code:   ExitBootstrap, words: []string{"envoy_extra_static_clusters_json"},
		},
		"template without sense": {
			consul: &fakeConsul{proxyConfig: map[string]any{"envoy_bootstrap_json_tpl": `{{ .Nothing }}`}},
			code:   ExitBootstrap, words: []string{"envoy_bootstrap_json_tpl"},
		},
		"envoy exits, no restart": {
			args: []string{"-envoy-max-restarts=0", "--", fakeFlag, "exit:7"},
			code: 7, words: []string{"envoy exited with code 7"},
		},
		"envoy exits once too often": {
			args: []string{"-envoy-max-restarts=2", "--", fakeFlag, "exit:9"},
			code: 9, words: []string{"envoy exited with code 9", "2 restarts"},
		},
		"envoy ends cleanly by itself": {
			args: []string{"-envoy-max-restarts=0", "--", fakeFlag, "exit:0"},
			code: ExitOther, words: []string{"envoy exited with code 0"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, tc.consul.start(t), tc.args...)
			err := s.end(t, patience)
			if err == nil {
				t.Fatal("a clean end")
			}
			if code := ExitCode(err); code != tc.code {
				t.Errorf("exit code %d, want %d: %v", code, tc.code, err)
			}
			mention(t, err.Error(), tc.words...)
			for _, secret := range []string{"the-token", "the-bearer"} {
				if strings.Contains(err.Error()+s.log.String(), secret) {
					t.Errorf("%s is in the error or the log", secret)
				}
			}
			if s.supervisor.PID() != 0 {
				t.Error("envoy is still there")
			}
		})
	}
}

// TestProxyConfigNamesCredentials has the proxy's configuration in Consul ask
// for podplane's token. It sets the environment, so it is not parallel.
func TestProxyConfigNamesCredentials(t *testing.T) {
	t.Setenv("DP_CREDENTIAL_STATIC_TOKEN", "the-token")
	t.Setenv("STATSD", "udp://127.0.0.1:8125")
	s := start(t, (&fakeConsul{proxyConfig: map[string]any{
		"envoy_statsd_url": "$DP_CREDENTIAL_STATIC_TOKEN", "envoy_dogstatsd_url": "$STATSD",
	}}).start(t))
	err := s.end(t, patience)
	if code := ExitCode(err); code != ExitBootstrap {
		t.Fatalf("exit code %d for %v", code, err)
	}
	mention(t, err.Error(), "envoy_statsd_url", "DP_CREDENTIAL_STATIC_TOKEN is not set")
	if text := err.Error() + s.log.String(); strings.Contains(text, "the-token") || strings.Contains(text, "dogstatsd") {
		t.Errorf("got %s", text)
	}
}

func TestExitCode(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err  error
		want int
	}{
		"nothing":          {nil, ExitClean},
		"anything":         {errors.New("x"), ExitOther},
		"context":          {context.Canceled, ExitOther},
		"settings":         {&config.Error{Problems: []config.Problem{{Setting: "mode"}}}, ExitConfig},
		"coded":            {coded(ExitListen, errors.New("x")), ExitListen},
		"coded nothing":    {coded(ExitListen, nil), ExitClean},
		"wrapped":          {fmt.Errorf("y: %w", coded(ExitBootstrap, errors.New("x"))), ExitBootstrap},
		"joined":           {errors.Join(coded(ExitEnvoy, errors.New("x")), errors.New("close")), ExitEnvoy},
		"crash":            {coded(ExitEnvoy, &envoy.ExitError{Code: 42}), 42},
		"crash by signal":  {&envoy.ExitError{Code: -1, Signal: 9}, 137},
		"crash with 0":     {&envoy.ExitError{}, ExitOther},
		"xds refused":      {&xdsproxy.RefusedError{Err: errors.New("x")}, ExitXDS},
		"session refused":  {fmt.Errorf("x: %w", serverconn.ErrRefused), ExitRefused},
		"refused by words": {&serverconn.RefusedError{Message: "ACL not found"}, ExitRefused},
	} {
		if got := ExitCode(tc.err); got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
	if err := coded(ExitListen, context.Canceled); err.Error() != "context canceled" || !errors.Is(err, context.Canceled) {
		t.Errorf("a code changes the error: %v", err)
	}
}

// TestExitCodesInREADME compares the table of the README with the constants, so
// that neither has a code that the other has not.
func TestExitCodesInREADME(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(readme), "\n## Exit codes\n")
	if !found {
		t.Fatal("the README has no section on exit codes")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	documented := map[string]string{}
	for _, row := range regexp.MustCompile(`(?m)^\| (\d+|Envoy's) \| (.+) \|$`).FindAllStringSubmatch(section, -1) {
		if _, twice := documented[row[1]]; twice {
			t.Errorf("code %s is in the README twice", row[1])
		}
		documented[row[1]] = row[2]
	}
	if documented["Envoy's"] == "" {
		t.Error("the README does not tell of Envoy's own code")
	}
	delete(documented, "Envoy's")
	for code, name := range exitConstants(t) {
		if documented[code] == "" {
			t.Errorf("%s, %s, is not in the README", name, code)
		}
		delete(documented, code)
	}
	for code, meaning := range documented {
		t.Errorf("no constant for code %s of the README: %s", code, meaning)
	}
}

// exitConstants reads the names of the exit codes from the source.
func exitConstants(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "exit.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Exit") {
			return true
		}
		value, ok := spec.Values[0].(*ast.BasicLit)
		if !ok || names[value.Value] != "" {
			t.Errorf("the value of %s is no number, or one of two", spec.Names[0])
			return true
		}
		names[value.Value] = spec.Names[0].Name
		return true
	})
	if len(names) < 2 {
		t.Fatal("no constants found")
	}
	return names
}
