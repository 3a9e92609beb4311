// SPDX-License-Identifier: MPL-2.0

package control

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what is waited for.
const patience = 30 * time.Second

func listen(t *testing.T) (*Listener, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l, path
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// program connects, says hello and serves until the test's end.
func program(t *testing.T, path string, commands map[string]Handler) (*Program, <-chan error) {
	t.Helper()
	ctx := bounded(t)
	p, err := Dial(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Hello("worker", "there:1"); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- p.Serve(ctx, commands) }()
	return p, ended
}

func TestConversation(t *testing.T) {
	t.Parallel()
	l, path := listen(t)
	before := Now()
	p, ended := program(t, path, map[string]Handler{
		"double": Handle(func(_ context.Context, n int) (any, error) { return 2 * n, nil }),
		"refuse": Handle(func(context.Context, struct{}) (any, error) { return 1, errors.New("not today") }),
	})
	ctx := bounded(t)
	peer, err := l.Next(ctx, "worker")
	if err != nil {
		t.Fatal(err)
	}
	if h := peer.Hello(); h.Addr != "there:1" || h.PID == 0 {
		t.Errorf("hello: %+v", h)
	}
	var got int
	if err := peer.Call(ctx, "double", 21, &got); err != nil || got != 42 {
		t.Errorf("double: %d, %v", got, err)
	}
	if err := peer.Call(ctx, "double", 21, nil); err != nil {
		t.Errorf("a reply that nobody wants: %v", err)
	}
	for command, want := range map[string]string{"refuse": "not today", "unheard of": "unknown command"} {
		err := peer.Call(ctx, command, struct{}{}, &got)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "worker") {
			t.Errorf("%s: %v, want %q", command, err, want)
		}
	}
	if err := peer.Call(ctx, "double", "no number", &got); err == nil {
		t.Error("wrong arguments are no error")
	}
	for _, event := range []string{"boring", "live"} {
		if err := p.Event(event); err != nil {
			t.Fatal(err)
		}
	}
	at, err := peer.Await(ctx, "live")
	if err != nil || at < before || at > Now() {
		t.Errorf("live at %d, %v", at, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("hung up on: %v", err)
		}
	case <-ctx.Done():
		t.Error("the program serves on after the benchmark has hung up")
	}
}

func TestProgramThatIsGone(t *testing.T) {
	t.Parallel()
	l, path := listen(t)
	p, ended := program(t, path, nil)
	ctx := bounded(t)
	peer, err := l.Next(ctx, "worker")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Event("last words"); err != nil {
		t.Fatal(err)
	}
	_ = p.conn.Close()
	<-ended
	<-peer.Gone()
	if _, err := peer.Await(ctx, "last words"); err != nil {
		t.Errorf("what it said before its end is lost: %v", err)
	}
	if _, err := peer.Await(ctx, "more"); err == nil || !strings.Contains(err.Error(), "ended") {
		t.Errorf("await: %v", err)
	}
	if err := peer.Call(ctx, "anything", 1, nil); err == nil {
		t.Error("a call of a program that is gone is no error")
	}
}

func TestEveryWaitEnds(t *testing.T) {
	t.Parallel()
	l, path := listen(t)
	over, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the dataplane has ended"))
	if _, err := l.Next(over, "worker"); err == nil || !strings.Contains(err.Error(), "the dataplane has ended") {
		t.Errorf("next: %v", err)
	}
	release := make(chan struct{})
	_, _ = program(t, path, map[string]Handler{
		"hang": Handle(func(ctx context.Context, _ int) (any, error) {
			select {
			case <-release:
			case <-ctx.Done():
			}
			return nil, nil
		}),
	})
	peer, err := l.Next(bounded(t), "worker")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := peer.Await(over, "live"); err == nil {
		t.Error("await does not end with its context")
	}
	short, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if err := peer.Call(short, "hang", 1, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("call: %v", err)
	}
	close(release)
}

// A program does not live on for the sake of a command whose answer nobody waits for any more.
func TestHangingUpEndsACommand(t *testing.T) {
	t.Parallel()
	l, path := listen(t)
	begun := make(chan struct{})
	_, ended := program(t, path, map[string]Handler{
		"hang": Handle(func(ctx context.Context, _ int) (any, error) {
			close(begun)
			select {
			case <-ctx.Done():
			case <-time.After(patience):
				t.Error("the command goes on")
			}
			return nil, ctx.Err()
		}),
	})
	ctx := bounded(t)
	peer, err := l.Next(ctx, "worker")
	if err != nil {
		t.Fatal(err)
	}
	called := make(chan error, 1)
	go func() { called <- peer.Call(ctx, "hang", 1, nil) }()
	<-begun
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("hung up on: %v", err)
	}
	if err := <-called; err == nil {
		t.Error("a call without an answer is no error")
	}
	if all := l.Peers(); len(all) != 1 || all[0].Hello().Role != "worker" {
		t.Errorf("peers: %+v", all)
	}
}

func TestOtherRole(t *testing.T) {
	t.Parallel()
	l, path := listen(t)
	_, _ = program(t, path, nil)
	if _, err := l.Next(bounded(t), "envoy"); err == nil || !strings.Contains(err.Error(), "worker") {
		t.Errorf("another role: %v", err)
	}
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "absent", "s")
	if _, err := Dial(t.Context(), path); err == nil {
		t.Error("dial: no error")
	}
	if _, err := Listen(path); err == nil {
		t.Error("listen: no error")
	}
}
