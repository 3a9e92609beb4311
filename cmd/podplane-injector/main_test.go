// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"podplane/injector"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ran(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(t.Context(), args, &out, &err)
	return code, out.String(), err.String()
}

func TestInformation(t *testing.T) {
	t.Parallel()
	if code, out, _ := ran(t, "-version"); code != exitClean || out != "podplane-injector dev (unknown)\n" {
		t.Errorf("%d: %s", code, out)
	}
	for _, args := range [][]string{{"-help"}, {"bootstrap-acl", "-h"}, {"-no-such-flag", "-help"}} {
		code, out, _ := ran(t, args...)
		if code != exitClean || !strings.HasPrefix(out, "Usage: podplane-injector") || !strings.Contains(out, "-webhook-addr") {
			t.Errorf("%q gives %d", args, code)
		}
	}
	if code := run(t.Context(), []string{"-help"}, full{}, io.Discard); code != exitOther {
		t.Errorf("a full device gives %d", code)
	}
}

// full is a device without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestRefusals(t *testing.T) {
	t.Parallel()
	valid := []string{"-consul-addresses=127.0.0.1", "-image=i", "-kubeconfig=/does/not/exist"}
	for name, tc := range map[string]struct {
		args []string
		code int
		says string
	}{
		"nothing":       {nil, exitConfig, "-consul-addresses"},
		"unknown flag":  {append(valid, "-what"), exitConfig, "flag -what: unknown flag"},
		"no API server": {valid, exitOther, "find the API server"},
		"bootstrap":     {[]string{"bootstrap-acl"}, exitConfig, "-kubernetes-host"},
		"bootstrap, no file": {
			[]string{"bootstrap-acl", "-consul-addresses=127.0.0.1", "-consul-tls-disabled", "-kubernetes-host=https://k", "-bootstrap-token-path=/"},
			exitOther, "read the bootstrap token",
		},
		"warning":        {append(valid, "-consul-token-path=x"), exitOther, "has no effect"},
		"ids, nothing":   {[]string{"write-proxy-ids"}, exitOther, "say what to write"},
		"ids, relative":  {[]string{"write-proxy-ids", "a=b"}, exitOther, "not of the form"},
		"ids, no folder": {[]string{"write-proxy-ids", "/does/not/exist/a=b"}, exitOther, "write proxy id"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, out, stderr := ran(t, tc.args...)
			if code != tc.code || out != "" || !strings.Contains(stderr, tc.says) {
				t.Errorf("%d: %s%s", code, out, stderr)
			}
		})
	}
}

// TestProxyIDs writes what consul-dataplane reads, byte by byte.
func TestProxyIDs(t *testing.T) {
	t.Parallel()
	if commandWriteIDs != injector.CommandWriteIDs {
		t.Error("the injector calls another command")
	}
	a, b := filepath.Join(t.TempDir(), "proxyid"), filepath.Join(t.TempDir(), "proxyid-web")
	for range 2 { // a container may run twice
		if code, _, stderr := ran(t, "write-proxy-ids", a+"=web-1-web-sidecar-proxy", b+"=x=y"); code != exitClean {
			t.Fatal(stderr)
		}
	}
	for path, want := range map[string]string{a: "web-1-web-sidecar-proxy", b: "x=y"} {
		got, err := os.ReadFile(path)
		info, statErr := os.Stat(path)
		if err != nil || statErr != nil || string(got) != want || info.Mode().Perm() != 0o444 {
			t.Errorf("%s: %q %v %v", path, got, info.Mode(), err)
		}
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	}
}

func TestMemory(t *testing.T) {
	t.Setenv("GOMEMLIMIT", "off")
	if code := run(context.Background(), []string{"-consul-addresses=127.0.0.1", "-image=i", "-kubeconfig=/does/not/exist"}, io.Discard, io.Discard); code != exitOther {
		t.Errorf("got %d", code)
	}
}
