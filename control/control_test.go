// SPDX-License-Identifier: MPL-2.0

package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakePodplane answers like the lifecycle endpoints and notes what it is asked.
type fakePodplane struct {
	*Client
	mu    sync.Mutex
	asked []string
	ready []string // answers of /ready that are not 200, in turn
}

func serve(t *testing.T, ready ...string) *fakePodplane {
	t.Helper()
	f := &fakePodplane{ready: ready}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	f.Client = clientOf(t, server.Listener.Addr())
	return f
}

func clientOf(t *testing.T, addr net.Addr) *Client {
	t.Helper()
	tcp, _ := addr.(*net.TCPAddr)
	c, err := NewClient(Endpoint{Addr: tcp.IP.String(), Port: tcp.Port, ShutdownPath: "/bye"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (f *fakePodplane) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, r.Method+" "+r.URL.RequestURI())
	switch {
	case r.URL.Path == "/ready" && len(f.ready) > 0:
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, f.ready[0])
		if len(f.ready) > 1 {
			f.ready = f.ready[1:]
		}
	case r.URL.Path == "/loglevel" && r.URL.Query().Get("level") == "loud":
		http.Error(w, "level must be quiet", http.StatusBadRequest)
	default:
		_, _ = io.WriteString(w, `{"state":"fine"}`)
	}
}

func (f *fakePodplane) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked)
}

const waitsForEnvoy = `{"ready":false,"pending":[{"task":"envoy live","last_error":"envoy is starting"},{"task":"consul session"}]}`

func TestNewClient(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		addr string
		port int
		want string
	}{
		"loopback":  {"127.0.0.1", 20600, "http://127.0.0.1:20600"},
		"any IPv4":  {"0.0.0.0", 20600, "http://127.0.0.1:20600"},
		"any IPv6":  {"::", 20600, "http://[::1]:20600"},
		"free port": {"127.0.0.1", 0, ""},
	} {
		c, err := NewClient(Endpoint{Addr: tc.addr, Port: tc.port})
		if (err == nil) != (tc.want != "") || (c != nil && c.base != tc.want) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}

func TestRequests(t *testing.T) {
	t.Parallel()
	f := serve(t)
	ctx := t.Context()
	for _, call := range []func() ([]byte, error){
		func() ([]byte, error) { return f.Shutdown(ctx) },
		func() ([]byte, error) { return f.Drain(ctx) },
		func() ([]byte, error) { return f.Quit(ctx) },
		func() ([]byte, error) { return f.Status(ctx) },
		func() ([]byte, error) { return f.LogLevel(ctx, "debug", "") },
		func() ([]byte, error) { return f.LogLevel(ctx, "trace", "90s") },
	} {
		if body, err := call(); err != nil || string(body) != `{"state":"fine"}` {
			t.Errorf("got %s (%v)", body, err)
		}
	}
	want := []string{
		"POST /bye", "POST /bye?wait", "POST /bye?now&wait", "GET /status",
		"POST /loglevel?level=debug", "POST /loglevel?for=90s&level=trace",
	}
	if got := f.requests(); !slices.Equal(got, want) {
		t.Errorf("asked %q, want %q", got, want)
	}
	if _, err := f.LogLevel(ctx, "loud", ""); err == nil || err.Error() != "podplane answers 400: level must be quiet" {
		t.Errorf("refused with %v", err)
	}
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := clientOf(t, l.Addr())
	l.Close()
	want := "ask podplane at http://" + l.Addr().String() + ": dial tcp"
	if _, err := c.Status(t.Context()); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*readyPoll)
	defer cancel()
	if err := c.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("Wait gave %v", err)
	}
}

func TestWait(t *testing.T) {
	t.Parallel()
	terminating := `{"ready":false,"terminating":"signal: terminated"}`
	for name, tc := range map[string]struct {
		ready []string
		last  bool // the last answer is 200
		want  string
	}{
		"ready":            {nil, true, ""},
		"pending":          {[]string{waitsForEnvoy}, false, "it waits for envoy live (envoy is starting), consul session"},
		"terminating":      {[]string{waitsForEnvoy, terminating}, false, "podplane will not be ready: it is shutting down (signal: terminated)"},
		"somebody else":    {[]string{"<html>"}, false, "it answers 503"},
		"pending for once": {[]string{waitsForEnvoy, waitsForEnvoy}, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := serve(t, tc.ready...)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if tc.last {
				go func() { // becomes ready when it has been asked often enough
					for len(f.requests()) < len(tc.ready) && ctx.Err() == nil {
						<-time.After(time.Millisecond)
					}
					f.mu.Lock()
					defer f.mu.Unlock()
					f.ready = nil
				}()
			} else if !strings.Contains(tc.want, "will not") {
				go func() { // the second request tells that the first was answered
					for len(f.requests()) < 2 && ctx.Err() == nil {
						<-time.After(time.Millisecond)
					}
					cancel()
				}()
			}
			err := f.Wait(ctx)
			if (err == nil) != (tc.want == "") || (err != nil && !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("Wait gave %v, want %q", err, tc.want)
			}
		})
	}
}

func TestExec(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args   []string
		code   int
		output string
		says   string
	}{
		"success":        {[]string{"/bin/sh", "-c", "cat; echo done"}, 0, "in\ndone\n", ""},
		"failure":        {[]string{"/bin/sh", "-c", "exit 7"}, 7, "", ""},
		"signal":         {[]string{"/bin/sh", "-c", "kill -9 $$"}, 137, "", ""},
		"not there":      {[]string{"/no/such/command"}, ExitNotFound, "", "/no/such/command"},
		"not on PATH":    {[]string{"no-such-command"}, ExitNotFound, "", "no-such-command"},
		"not executable": {[]string{"/dev/null"}, ExitNotAllowed, "", "permission denied"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := serve(t)
			var out bytes.Buffer
			code, err := f.Exec(t.Context(), Command{Args: tc.args, Stdin: strings.NewReader("in\n"), Stdout: &out, Stderr: &out}, f.Wait)
			if code != tc.code || out.String() != tc.output || !strings.Contains(fmt.Sprint(err), tc.says) || (err == nil) != (tc.says == "") {
				t.Errorf("code %d, output %q, error %v", code, out.String(), err)
			}
			if want := []string{"GET /ready", "POST /bye"}; !slices.Equal(f.requests(), want) {
				t.Errorf("asked %q, want %q", f.requests(), want)
			}
		})
	}
}

func TestExecWithoutAProxy(t *testing.T) {
	t.Parallel()
	f := serve(t)
	code, err := f.Exec(t.Context(), Command{Args: []string{"/bin/true"}}, func(context.Context) error { return errors.New("not today") })
	if code != ExitNotRun || err == nil || len(f.requests()) != 0 {
		t.Errorf("code %d, %v, asked %q", code, err, f.requests())
	}
	// The shutdown is lost, the command's code is not.
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	c := clientOf(t, l.Addr())
	l.Close()
	code, err = c.Exec(t.Context(), Command{Args: []string{"/bin/false"}}, func(context.Context) error { return nil })
	if code != 1 || err == nil || !strings.Contains(err.Error(), "shut down the proxy") {
		t.Errorf("code %d, %v", code, err)
	}
}

// firstWrite tells of the first write.
type firstWrite struct{ seen chan struct{} }

func (w firstWrite) Write(p []byte) (int, error) {
	close(w.seen)
	return len(p), nil
}

func TestExecPassesSignalsOn(t *testing.T) {
	t.Parallel()
	f := serve(t)
	signals := make(chan os.Signal)
	running := firstWrite{make(chan struct{})}
	go func() {
		<-running.seen
		signals <- syscall.SIGUSR1
	}()
	code, err := f.Exec(t.Context(), Command{
		Args:    []string{"/bin/sh", "-c", "trap 'exit 11' USR1; echo ready; while :; do sleep 0.01; done"},
		Stdout:  running,
		Signals: signals,
	}, f.Wait)
	if code != 11 || err != nil {
		t.Errorf("code %d, %v", code, err)
	}
}

func TestExecEndsByASignalWhileItWaits(t *testing.T) {
	t.Parallel()
	f := serve(t, waitsForEnvoy)
	signals := make(chan os.Signal, 1)
	signals <- syscall.SIGTERM
	code, err := f.Exec(t.Context(), Command{Args: []string{"/bin/true"}, Signals: signals}, f.Wait)
	if code != 143 || err == nil || slices.Contains(f.requests(), "POST /bye") {
		t.Errorf("code %d, %v, asked %q", code, err, f.requests())
	}
}

func TestExecKillsAtTheEndOfItsContext(t *testing.T) {
	t.Parallel()
	f := serve(t)
	ctx, cancel := context.WithCancel(t.Context())
	running := firstWrite{make(chan struct{})}
	go func() {
		<-running.seen
		cancel()
	}()
	code, err := f.Exec(ctx, Command{Args: []string{"/bin/sh", "-c", "echo ready; exec sleep 1000"}, Stdout: running}, f.Wait)
	if code != 137 || !errors.Is(err, context.Canceled) {
		t.Errorf("code %d, %v", code, err)
	}
}
