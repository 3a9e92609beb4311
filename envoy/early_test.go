// SPDX-License-Identifier: MPL-2.0

package envoy

import (
	"errors"
	"syscall"
	"testing"
)

func TestEarlyExits(t *testing.T) {
	t.Parallel()
	same := func(code, times int) (all []crash) {
		for range times {
			all = append(all, crash{ExitError: &ExitError{Code: code}})
		}
		return all
	}
	signal := crash{ExitError: &ExitError{Code: -1, Signal: syscall.SIGSEGV}}
	live := crash{ExitError: &ExitError{Code: 1}, reachedLive: true}
	for name, tc := range map[string]struct {
		crashes []crash
		want    bool
	}{
		"four":                     {same(1, 4), false},
		"five":                     {same(1, 5), true},
		"clean exits":              {same(0, 5), true},
		"another code between":     {append(append(same(1, 4), same(2, 1)...), same(1, 4)...), false},
		"a signal between":         {append(append(same(1, 4), signal), same(1, 4)...), false},
		"signals alone":            {[]crash{signal, signal, signal, signal, signal, signal}, false},
		"it can start, as is seen": {append([]crash{live}, same(1, 20)...), false},
	} {
		var e earlyExits
		got := false
		for _, c := range tc.crashes {
			got = e.hopeless(&c)
		}
		if got != tc.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestEnvoyThatCannotStart(t *testing.T) {
	t.Parallel()
	s := supervise(t, "exit:9", func(c *Config) {
		c.MaxRestarts = 100
		c.Admin = childsAdmin(t, t.TempDir()) // nobody says LIVE
	})
	var exit *ExitError
	if err := s.wait(t); !errors.As(err, &exit) || exit.Code != 9 || exit.Restarts != maxEarlyExits-1 {
		t.Errorf("Run gave %v", err)
	}
}
