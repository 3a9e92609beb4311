// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"podplane/control"
	"podplane/dataplane"
	"podplane/integration/logtest"
)

// asked is a podplane that says yes to everything.
type asked struct {
	mu       sync.Mutex
	requests []string
	port     string
}

func answering(t *testing.T) *asked {
	t.Helper()
	a := &asked{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.requests = append(a.requests, r.Method+" "+r.URL.RequestURI())
		_, _ = io.WriteString(w, "fine\n")
	}))
	t.Cleanup(server.Close)
	_, a.port, _ = net.SplitHostPort(server.Listener.Addr().String())
	return a
}

// called runs a subcommand.
func called(name string, args ...string) result {
	var stdout, stderr logtest.Buffer
	code := commands()[name].call(context.Background(), args, &invocation{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr})
	return result{code, stdout.String(), stderr.String()}
}

func TestCommands(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		command  string
		args     []string
		requests string
		want     result
	}{
		"wait":     {"wait", nil, "GET /ready", result{}},
		"drain":    {"drain", []string{"--timeout=1m"}, "POST /graceful_shutdown?wait", result{0, "fine\n", ""}},
		"own path": {"drain", []string{"-graceful-shutdown-path", "/bye"}, "POST /bye?wait", result{0, "fine\n", ""}},
		"quit":     {"quit", nil, "POST /graceful_shutdown?now&wait", result{0, "fine\n", ""}},
		"status":   {"status", nil, "GET /status", result{0, "fine\n", ""}},
		"level":    {"loglevel", []string{"debug", "--for", "90s"}, "POST /loglevel?for=90s&level=debug", result{0, "fine\n", ""}},
		"level at the end": {
			"loglevel", []string{"-for=2m", "debug"}, "POST /loglevel?for=2m&level=debug", result{0, "fine\n", ""},
		},
		"exec": {
			"exec", []string{"-timeout", "5s", "--", "/bin/sh", "-c", "echo out; exit 3"}, "GET /ready POST /graceful_shutdown",
			result{3, "out\n", ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := answering(t)
			// The flags of podplane stand before the others, and before --.
			args := append([]string{"-graceful-port", a.port}, tc.args...)
			if tc.command == "loglevel" && !strings.HasPrefix(tc.args[0], "-") {
				args = append(tc.args, "-graceful-port", a.port)
			}
			got := called(tc.command, args...)
			if requests := strings.Join(a.requests, " "); got != tc.want || requests != tc.requests {
				t.Errorf("got %+v, asked %q", got, requests)
			}
		})
	}
}

func TestCommandsRefuse(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		command string
		args    []string
		code    int
		says    string
	}{
		"unknown flag":    {"wait", []string{"-no-such-flag"}, dataplane.ExitConfig, "-no-such-flag"},
		"no time":         {"wait", []string{"-timeout", "soon"}, dataplane.ExitConfig, "-timeout soon"},
		"value missing":   {"wait", []string{"-timeout"}, dataplane.ExitConfig, "-timeout needs a value"},
		"any port":        {"status", []string{"-graceful-port", "0"}, dataplane.ExitConfig, "-graceful-port"},
		"no level":        {"loglevel", nil, dataplane.ExitConfig, "say which level"},
		"nothing to run":  {"exec", nil, dataplane.ExitConfig, "say what to run"},
		"nobody there":    {"status", []string{"-graceful-port", "1"}, dataplane.ExitOther, "connection refused"},
		"never ready":     {"wait", []string{"-graceful-port", "1", "-timeout", "100ms"}, dataplane.ExitOther, "podplane is not ready: context deadline exceeded"},
		"exec, not ready": {"exec", []string{"-graceful-port", "1", "-timeout", "100ms", "--", "/bin/true"}, control.ExitNotRun, "not ready"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := called(tc.command, tc.args...)
			if got.code != tc.code || got.stdout != "" || strings.Count(got.stderr, "\n") != 1 ||
				!strings.HasPrefix(got.stderr, "podplane "+tc.command+": ") || !strings.Contains(got.stderr, tc.says) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestCommandHelp(t *testing.T) {
	t.Parallel()
	for name := range commands() {
		got := called(name, "-help")
		if got.code != dataplane.ExitClean || !strings.HasPrefix(got.stdout, "Usage: podplane "+name) || got.stderr != "" {
			t.Errorf("%s: %+v", name, got)
		}
		if _, help, _ := strings.Cut(ran(t, "-help").stdout, "Usage: "); !strings.Contains(help[:200], name) {
			t.Errorf("the help of podplane does not name %s", name)
		}
	}
}

// TestCommandEnvironment has the address from where podplane itself has it.
func TestCommandEnvironment(t *testing.T) {
	a := answering(t)
	t.Setenv("DP_GRACEFUL_PORT", a.port)
	t.Setenv("DP_GRACEFUL_SHUTDOWN_PATH", "/bye")
	if got := called("drain"); got.code != 0 || strings.Join(a.requests, " ") != "POST /bye?wait" {
		t.Errorf("got %+v, asked %q", got, a.requests)
	}
}
