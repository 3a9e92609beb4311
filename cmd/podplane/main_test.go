// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"podplane/dataplane"
	"podplane/integration/logtest"
)

// asProgram makes the test binary the program itself.
const asProgram = "PODPLANE_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// result is what a run left behind.
type result struct {
	code           int
	stdout, stderr string
}

// lastLine is the last line on standard error.
func (r result) lastLine() string {
	text := strings.TrimSpace(r.stderr)
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// ran runs the program, with a SIGTERM that has come already.
func ran(t *testing.T, args ...string) result {
	t.Helper()
	signals := make(chan os.Signal, 1)
	signals <- syscall.SIGTERM
	var stdout, stderr logtest.Buffer
	done := make(chan int, 1)
	go func() { done <- run(args, &stdout, &stderr, signals) }()
	timer := time.NewTimer(time.Minute)
	defer timer.Stop()
	select {
	case code := <-done:
		return result{code, stdout.String(), stderr.String()}
	case <-timer.C:
		t.Fatalf("does not end: %s", stderr.String())
		panic("unreachable")
	}
}

// sidecar are settings with which the program runs and gets nowhere: there is no
// server.
func sidecar(t *testing.T, more ...string) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return append([]string{
		"-addresses=127.0.0.1", "-grpc-port=1", "-tls-disabled", "-proxy-id=web", "-proxy-node-name=node",
		"-envoy-executable-path=" + self, "-envoy-admin-bind-address=" + loopback(), "-graceful-port=0", "-telemetry-prom-merge-port=0",
	}, more...)
}

var loopbacks atomic.Int32

// loopback gives an address of this machine that nobody else uses, so that the
// default ports are free there.
func loopback() string {
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d", 64+pid>>8%128, pid%256, 1+loopbacks.Add(1)%254)
}

func TestVersion(t *testing.T) {
	t.Parallel()
	got := ran(t, "-version")
	if got != (result{dataplane.ExitClean, "podplane dev (unknown)\n", ""}) {
		t.Errorf("got %+v", got)
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	got := ran(t, "-help", "-no-such-flag")
	if got.code != dataplane.ExitClean || got.stderr != "" {
		t.Errorf("code %d, on standard error: %s", got.code, got.stderr)
	}
	for _, word := range []string{"Usage: podplane", "-addresses", "DP_CONSUL_ADDRESSES", "-check-proxy-health"} {
		if !strings.Contains(got.stdout, word) {
			t.Errorf("no %q in the help", word)
		}
	}
}

func TestBadSettings(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args  []string
		words []string
	}{
		"unknown flag":   {sidecar(t, "-no-such-flag"), []string{"-no-such-flag"}},
		"nothing":        {nil, []string{"-addresses", "-proxy-id"}},
		"several faults": {sidecar(t, "-mode=other", "-graceful-port=x"), []string{"mode", "graceful-port"}},
		"missing file":   {sidecar(t, "-config-file=/does/not/exist"), []string{"/does/not/exist"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := ran(t, tc.args...)
			if got.code != dataplane.ExitConfig || got.stdout != "" {
				t.Errorf("code %d, on standard output: %s", got.code, got.stdout)
			}
			for _, word := range tc.words {
				if !strings.Contains(got.stderr, word) {
					t.Errorf("no %q in %s", word, got.stderr)
				}
			}
		})
	}
}

func TestCleanEnd(t *testing.T) {
	t.Parallel()
	got := ran(t, sidecar(t, "-tls-server-name=ignored")...)
	if got.code != dataplane.ExitClean || got.stdout != "" {
		t.Errorf("code %d, on standard output: %s", got.code, got.stdout)
	}
	if last := got.lastLine(); !strings.Contains(last, "[INFO]  podplane: ended: exit_code=0") {
		t.Errorf("the last line is %s", last)
	}
	for _, word := range []string{"podplane: starting: version=dev mode=sidecar proxy_id=web", "[WARN]  podplane: flag -tls-server-name has no effect"} {
		if !strings.Contains(got.stderr, word) {
			t.Errorf("no %q in %s", word, got.stderr)
		}
	}
}

// TestStartingLine: the first line tells for whom it starts, as far as that is known.
func TestStartingLine(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "web.hcl")
	if err := os.WriteFile(file, []byte(`service { name = "web" port = 1 connect { sidecar_service {} } }`), 0o600); err != nil {
		t.Fatal(err)
	}
	withFile := slices.DeleteFunc(sidecar(t, "-service-file="+file), func(arg string) bool { return arg == "-proxy-id=web" })
	for want, args := range map[string][]string{
		"starting: version=dev mode=sidecar proxy_id=web\n":              sidecar(t),
		"starting: version=dev mode=sidecar service_file=" + file + "\n": withFile,
		"starting: version=dev mode=dns-proxy\n": {
			"-mode=dns-proxy", "-addresses=127.0.0.1", "-grpc-port=1", "-tls-disabled", "-consul-dns-bind-port=0", "-graceful-port=0",
		},
	} {
		if got := ran(t, args...); !strings.Contains(got.stderr, want) {
			t.Errorf("no %q in %s", want, got.stderr)
		}
	}
}

func TestTakenPort(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, taken, _ := net.SplitHostPort(l.Addr().String())
	got := ran(t, sidecar(t, "-graceful-port="+taken, "-log-json", "-credential-type=static", "-static-token=the-token")...)
	if got.code != dataplane.ExitListen {
		t.Errorf("code %d: %s", got.code, got.stderr)
	}
	var last struct {
		Level   string `json:"@level"`
		Message string `json:"@message"`
		Error   string `json:"error"`
		Code    int    `json:"exit_code"`
	}
	if err := json.Unmarshal([]byte(got.lastLine()), &last); err != nil {
		t.Fatalf("the last line is no JSON: %v: %s", err, got.lastLine())
	}
	if last.Level != "error" || last.Message != "ended" || last.Code != dataplane.ExitListen || !strings.Contains(last.Error, taken) {
		t.Errorf("the last line is %s", got.lastLine())
	}
	if strings.Contains(got.stderr, "the-token") {
		t.Errorf("the token is in the log: %s", got.stderr)
	}
}

func TestCheckProxyHealth(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status int
		body   string
		want   result
	}{
		"live":         {http.StatusOK, "LIVE\n", result{dataplane.ExitClean, "envoy is LIVE\n", ""}},
		"initializing": {http.StatusServiceUnavailable, "INITIALIZING\n", result{dataplane.ExitOther, "envoy is INITIALIZING\n", ""}},
		"another server's page": {
			http.StatusNotFound, "<html>\r\n<body>\n",
			result{dataplane.ExitOther, "ask envoy for its state: envoy admin /ready: status 404: <html>; <body>\n", ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tc.status)
				fmt.Fprint(w, tc.body)
			}))
			defer server.Close()
			_, admin, _ := net.SplitHostPort(server.Listener.Addr().String())
			got := ran(t, "-check-proxy-health", "-envoy-admin-bind-port="+admin)
			if got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
	t.Run("nothing there", func(t *testing.T) {
		t.Parallel()
		got := ran(t, "-check-proxy-health", "-envoy-admin-bind-address="+loopback())
		if got.code != dataplane.ExitOther || !strings.Contains(got.stdout, "connection refused") || strings.Count(got.stdout, "\n") != 1 {
			t.Errorf("got %+v", got)
		}
	})
}

// TestHealthCheckIsRefused has no exit code but 1, and one line.
func TestHealthCheckIsRefused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args []string
		says string
	}{
		"its own value": {[]string{"-check-proxy-health=maybe"}, `"maybe": must be true or false`},
		"another value": {[]string{"-check-proxy-health", "-envoy-admin-bind-port=x"}, "flag -envoy-admin-bind-port"},
		"several":       {[]string{"-check-proxy-health", "-envoy-admin-bind-port=x", "-mode=y", "-what"}, "flag -what: unknown flag"},
		"a stray value": {[]string{"-check-proxy-health", "true"}, "-check-proxy-health=true"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := ran(t, tc.args...)
			if got.code != dataplane.ExitOther || strings.Count(got.stdout, "\n") != 1 || !strings.Contains(got.stdout, tc.says) || got.stderr != "" {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// full is a device without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestOutputIsLost(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"-version", "-help"} {
		if code := run([]string{flag}, full{}, io.Discard, nil); code != dataplane.ExitOther {
			t.Errorf("%s with a full device gives %d", flag, code)
		}
	}
}

// TestProgram runs the program itself, with a signal of the kernel's.
func TestProgram(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, self, sidecar(t)...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	log := &signalWriter{word: "serving xds", seen: make(chan struct{})}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-log.seen:
	case <-ctx.Done():
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("ended with %v: %s", err, log)
	}
}

// signalWriter tells when a word has been written.
type signalWriter struct {
	logtest.Buffer
	word string
	once sync.Once
	seen chan struct{}
}

func (w *signalWriter) Write(p []byte) (int, error) {
	n, err := w.Buffer.Write(p)
	if strings.Contains(w.String(), w.word) {
		w.once.Do(func() { close(w.seen) })
	}
	return n, err
}
