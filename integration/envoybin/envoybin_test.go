// SPDX-License-Identifier: MPL-2.0

package envoybin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const realVersion = "envoy  version: 84305a6cb64bd55aaf606bdd53de7cd6080427a1/1.35.9/Clean/RELEASE/BoringSSL"

// script writes a program that prints line.
func script(t *testing.T, name, line string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho '"+line+"'\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFindPrefersTheVariable(t *testing.T) {
	onPath := script(t, "envoy", "envoy  version: 0/1.33.0/Clean/RELEASE/BoringSSL")
	t.Setenv("PATH", filepath.Dir(onPath)+":"+os.Getenv("PATH"))

	tests := map[string]struct {
		env  string
		want Envoy
	}{
		"variable": {
			env:  script(t, "my-envoy", realVersion),
			want: Envoy{Kind: Real, Version: "1.35.9", Chosen: Named},
		},
		"variable names a stand-in": {
			env:  script(t, "standin", "podplane Envoy stand-in version: 0/1.35.3/Clean/RELEASE/none"),
			want: Envoy{Kind: StandIn, Version: "1.35.3", Chosen: Named},
		},
		"path": {want: Envoy{Path: onPath, Kind: Real, Version: "1.33.0", Chosen: OnPath}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Setenv(EnvVar, tt.env)
			if tt.env != "" {
				tt.want.Path = tt.env
			}
			got, err := Find(t.Context())
			if err != nil || got != tt.want {
				t.Errorf("got %+v, %v; want %+v", got, err, tt.want)
			}
			line := got.String()
			for _, word := range []string{got.Path, got.Version, string(got.Chosen)} {
				if !strings.Contains(line, word) {
					t.Errorf("report %q lacks %q", line, word)
				}
			}
			if strings.Contains(line, "no real Envoy") != (got.Kind == StandIn) {
				t.Errorf("report %q of a %s", line, got.Kind)
			}
			if strings.Contains(line, "not set") != (got.Chosen == Default) {
				t.Errorf("report %q of one that is %s", line, got.Chosen)
			}
		})
	}
}

func TestFindDoesNotLookPastABrokenVariable(t *testing.T) {
	for name, path := range map[string]string{"absent": "/nonexistent/envoy", "fails": "/bin/false"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(EnvVar, path)
			if got, err := Find(t.Context()); err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("got %+v, %v; want an error that names %s", got, err, path)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ text, want string }{
		"release":     {realVersion, "1.35.9"},
		"development": {"envoy  version: 0/1.36.0-dev/Modified/DEBUG/BoringSSL", "1.36.0-dev"},
		"no number":   {"something else\nsecond line", "something else"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := version(tt.text); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
