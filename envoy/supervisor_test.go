// SPDX-License-Identifier: MPL-2.0

package envoy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
)

func background() context.Context { return context.Background() }

func static(bootstrap string) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) { return []byte(bootstrap), nil }
}

// supervised is a supervisor that runs a child of the given mode.
type supervised struct {
	*Supervisor
	dir    string
	ended  chan error
	cancel context.CancelFunc
}

// supervise runs it; the test's end ends it.
func supervise(t *testing.T, mode string, change func(*Config)) *supervised {
	t.Helper()
	s := prepare(t, mode, change)
	s.run(t, static("{}"))
	return s
}

func prepare(t *testing.T, mode string, change func(*Config)) *supervised {
	t.Helper()
	s := &supervised{dir: t.TempDir(), ended: make(chan error, 1)}
	cfg := Config{
		Path:   os.Args[0],
		Env:    append(os.Environ(), childEnv+"="+mode, dirEnv+"="+s.dir),
		Stdout: io.Discard, Stderr: io.Discard,
	}
	if strings.HasPrefix(mode, "admin") {
		cfg.Admin = childsAdmin(t, s.dir)
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if s.Supervisor, err = New(cfg, hclog.New(&hclog.LoggerOptions{Output: t.Output(), Level: hclog.Debug})); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *supervised) run(t *testing.T, bootstrap func(context.Context) ([]byte, error)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s.cancel = cancel
	go func() { s.ended <- s.Run(ctx, bootstrap) }()
	t.Cleanup(func() {
		cancel()
		s.Kill()
		<-s.Done()
	})
}

func (s *supervised) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-s.ended:
		return err
	case <-time.After(time.Minute):
		t.Fatal("supervisor runs on")
		return nil
	}
}

// childsAdmin is the admin API of a child that binds a port of its own choice and
// announces it in the folder. Until then nobody answers.
func childsAdmin(t *testing.T, dir string) *Admin {
	t.Helper()
	a, err := NewAdmin(AdminConfig{Address: "127.0.0.1:0", Timeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	a.client.Transport = &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			address, err := os.ReadFile(filepath.Join(dir, "address"))
			if err != nil {
				return nil, err
			}
			return (&net.Dialer{}).DialContext(ctx, network, string(address))
		},
	}
	return a
}

func TestBootstrapByDescriptor(t *testing.T) {
	t.Parallel()
	s := prepare(t, "record", func(c *Config) { c.ExtraArgs = []string{"-l", "debug"} })
	bootstrap := strings.Repeat("secret ", 40_000) // more than one argument could hold
	s.run(t, static(bootstrap))
	var got record
	eventually(t, "record", func() bool {
		content, err := os.ReadFile(filepath.Join(s.dir, "record"))
		return err == nil && json.Unmarshal(content, &got) == nil
	})
	if got.Bootstrap != bootstrap {
		t.Errorf("the child read %d bytes of bootstrap, want %d", len(got.Bootstrap), len(bootstrap))
	}
	if got.Writable {
		t.Error("the child could change the bootstrap")
	}
	if !got.Group {
		t.Error("the child is not in a process group of its own")
	}
	if !slices.Equal(got.Args[:2], []string{"--config-path", "/dev/fd/3"}) {
		t.Errorf("args begin with %q", got.Args[:2])
	}
	if strings.Contains(strings.Join(got.Args, " "), "secret") {
		t.Error("the bootstrap is in argv")
	}
	if slices.Contains(got.Args, "--log-level") || !slices.Contains(got.Args, "-l") {
		t.Errorf("the user's log level did not replace ours: %q", got.Args)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	duplicate := prometheus.NewRegistry()
	if _, err := newSupervisorMetrics(duplicate); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		cfg  Config
		want string
	}{
		"missing":        {Config{Path: "/nowhere/envoy"}, `"/nowhere/envoy" does not exist`},
		"not on PATH":    {Config{Path: "no-such-envoy"}, `no executable "no-such-envoy" on PATH`},
		"not executable": {Config{Path: plain}, "is not executable"},
		"folder":         {Config{Path: "/"}, "find envoy"},
		"log level":      {Config{Path: os.Args[0], LogLevel: "loud"}, `unknown log level "loud"`},
		"strategy":       {Config{Path: os.Args[0], DrainStrategy: "slow"}, `unknown drain strategy "slow"`},
		"restarts":       {Config{Path: os.Args[0], MaxRestarts: -1}, "less than 0"},
		"metrics":        {Config{Path: os.Args[0], Registerer: duplicate}, "register envoy metrics"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := New(tc.cfg, nil)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want %q in it", err, tc.want)
			}
		})
	}
}

func TestBootstrapError(t *testing.T) {
	t.Parallel()
	s := prepare(t, "block", nil)
	broken := errors.New("no bootstrap")
	s.run(t, func(context.Context) ([]byte, error) { return nil, broken })
	if err := s.wait(t); !errors.Is(err, broken) {
		t.Errorf("Run gave %v", err)
	}
	if err := s.Run(t.Context(), static("")); err == nil {
		t.Error("a second Run gave no error")
	}
}

func TestStopWhileBootstrapIsAwaited(t *testing.T) {
	t.Parallel()
	s := prepare(t, "block", nil)
	asked := make(chan struct{})
	s.run(t, func(ctx context.Context) ([]byte, error) {
		close(asked)
		<-ctx.Done()
		return nil, ctx.Err()
	})
	<-asked
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	s.cancel()
	if err := s.wait(t); err != nil {
		t.Errorf("Run gave %v", err)
	}
}

func TestStopBeforeRun(t *testing.T) {
	t.Parallel()
	s := prepare(t, "block", nil)
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	s.run(t, static("{}"))
	if err := s.wait(t); err != nil {
		t.Errorf("Run gave %v", err)
	}
	if !s.Status().Started.IsZero() {
		t.Error("a stopped supervisor started Envoy")
	}
	if err := s.WaitLive(t.Context()); !errors.Is(err, ErrStopped) {
		t.Errorf("WaitLive gave %v", err)
	}
}

func TestStartFails(t *testing.T) {
	t.Parallel()
	bad := filepath.Join(t.TempDir(), "envoy")
	if err := os.WriteFile(bad, []byte("#!/nowhere/interpreter\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	s := supervise(t, "block", func(c *Config) { c.Path = bad })
	if err := s.wait(t); err == nil || !strings.Contains(err.Error(), "start envoy") {
		t.Errorf("Run gave %v", err)
	}
}

func TestOutputIsPassedOn(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	cmd := exec.Command(os.Args[0], "-test.list", "^TestOutputIsPassedOn$")
	cmd.Stdout = &out
	p, err := startProcess(cmd)
	if err != nil {
		t.Fatal(err)
	}
	<-p.done
	if !strings.Contains(out.String(), "TestOutputIsPassedOn") || p.exit.Code != 0 {
		t.Errorf("output %q, exit %v", out.String(), p.exit)
	}
}
