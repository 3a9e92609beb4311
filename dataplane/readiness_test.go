// SPDX-License-Identifier: MPL-2.0

package dataplane

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"podplane/lifecycle"
)

// pending are the tasks by name, with what went wrong.
func pending(r lifecycle.ReadyState) map[string]string {
	tasks := map[string]string{}
	for _, p := range r.Pending {
		tasks[p.Task] = p.LastError
	}
	return tasks
}

// TestNotReadyFromTheStart: there is no moment before the tasks are known.
func TestNotReadyFromTheStart(t *testing.T) {
	t.Parallel()
	s, err := prepare(t, (&fakeConsul{}).start(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got := pending(s.readiness.State())
	for _, task := range []string{"consul session", "envoy live", "envoy configuration"} {
		if _, ok := got[task]; !ok {
			t.Errorf("%q is not pending", task)
		}
	}
	if len(got) != 3 {
		t.Errorf("pending: %q", got)
	}
}

// TestReadinessSaysWhatIsMissing looks at /ready in every phase of a start that
// does not go on.
func TestReadinessSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		consul *fakeConsul
		args   []string
		want   map[string]string // task to a part of its error
	}{
		"no server": {
			args: []string{"-grpc-port=1"},
			want: map[string]string{"consul session": "connection refused", "envoy live": "", "envoy configuration": ""},
		},
		"token unknown": {
			consul: &fakeConsul{token: "t"},
			want:   map[string]string{"consul session": "ACL not found", "envoy live": "", "envoy configuration": ""},
		},
		"not registered": {
			consul: &fakeConsul{bootstrap: refusing(codes.NotFound, "no such proxy")},
			want:   map[string]string{"envoy live": "no such proxy", "envoy configuration": ""},
		},
		"envoy not live": {
			args: []string{"--", fakeFlag, "initializing"},
			want: map[string]string{"envoy live": "envoy is starting", "envoy configuration": ""},
		},
		"envoy crashes": {
			args: []string{"-envoy-max-restarts=1000", "--", fakeFlag, "exit:3"},
			want: map[string]string{"envoy live": "last exit: envoy exited with code 3", "envoy configuration": ""},
		},
		"envoy rejects": {
			args: []string{"--", fakeFlag, "reject"},
			want: map[string]string{"envoy configuration": "envoy rejected it: " + rejection},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, tc.consul.start(t), tc.args...)
			s.awaitReadiness(t, name, func(r lifecycle.ReadyState) bool {
				got := pending(r)
				for task, word := range tc.want {
					if text, ok := got[task]; !ok || !strings.Contains(text, word) {
						return false
					}
				}
				return len(got) == len(tc.want)
			})
		})
	}
}

// TestConfigurationTask covers what cannot be brought about from outside for
// long enough to be seen.
func TestConfigurationTask(t *testing.T) {
	t.Parallel()
	s, err := prepare(t, (&fakeConsul{}).start(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := s.rejection("Listener").Error(); got != "no Listener configuration accepted yet" {
		t.Errorf("without a rejection: %s", got)
	}
	s.awaitConfig(t.Context(), s.tasks.config) // returns, as no Envoy is LIVE
	if _, ok := pending(s.readiness.State())["envoy configuration"]; !ok {
		t.Error("accepted without an Envoy")
	}
}

func TestLiveness(t *testing.T) {
	t.Parallel()
	s, err := prepare(t, (&fakeConsul{}).start(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.alive(t.Context()); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.watchReadiness(ctx); err != nil {
		t.Errorf("after the end of the context: %v", err)
	}
}
