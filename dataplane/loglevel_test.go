// SPDX-License-Identifier: MPL-2.0

package dataplane

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// levelledEnvoy is an Envoy with two loggers.
type levelledEnvoy struct {
	levels map[string]string
	err    error
}

func (e *levelledEnvoy) LogLevels(context.Context) (map[string]string, error) {
	return maps.Clone(e.levels), e.err
}

func (e *levelledEnvoy) SetLogLevel(_ context.Context, level string) error {
	for name := range e.levels {
		e.levels[name] = level
	}
	return e.err
}

func (e *levelledEnvoy) RestoreLogLevels(_ context.Context, levels map[string]string) error {
	if e.err == nil {
		e.levels = maps.Clone(levels)
	}
	return e.err
}

func TestLogLevels(t *testing.T) {
	t.Parallel()
	usual := map[string]string{"main": "info", "upstream": "trace"}
	envoy := &levelledEnvoy{levels: maps.Clone(usual)}
	log := hclog.New(&hclog.LoggerOptions{Level: hclog.Info})
	named := log.Named("part")
	pid := 7
	l := &logLevels{log: log, usual: log.GetLevel(), envoy: envoy, pid: func() int { return pid }}
	for range 2 { // what is brought back is what was there before the first
		if err := l.Set(t.Context(), "debug"); err != nil {
			t.Fatal(err)
		}
	}
	if !named.IsDebug() || envoy.levels["main"] != "debug" || envoy.levels["upstream"] != "debug" {
		t.Errorf("podplane %s, envoy %v", named.GetLevel(), envoy.levels)
	}
	if err := l.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if named.IsDebug() || !maps.Equal(envoy.levels, usual) {
		t.Errorf("podplane %s, envoy %v", named.GetLevel(), envoy.levels)
	}

	envoy.err = errors.New("no answer")
	if err := l.Set(t.Context(), "debug"); err == nil || !strings.Contains(err.Error(), "envoy does not: no answer") || !named.IsDebug() {
		t.Errorf("Set gave %v, podplane logs at %s", err, named.GetLevel())
	}
	pid = 0
	for _, err := range []error{l.Set(t.Context(), "trace"), l.Reset(t.Context())} {
		if err != nil {
			t.Errorf("without an envoy: %v", err)
		}
	}
}

// TestLogLevelsAreRestoredInTheEnd has an Envoy that does not answer at first.
func TestLogLevelsAreRestoredInTheEnd(t *testing.T) {
	t.Parallel()
	usual := map[string]string{"main": "info"}
	for name, tc := range map[string]struct {
		pid  int // at the second try
		want string
	}{
		"the same envoy": {7, "info"},
		"another envoy":  {8, "debug"}, // whose own that is
		"none":           {0, "debug"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			envoy := &levelledEnvoy{levels: maps.Clone(usual)}
			pid := 7
			l := &logLevels{log: hclog.NewNullLogger(), envoy: envoy, pid: func() int { return pid }}
			if err := l.Set(t.Context(), "debug"); err != nil {
				t.Fatal(err)
			}
			envoy.err = errors.New("no answer")
			if err := l.Reset(t.Context()); err == nil {
				t.Error("no error")
			}
			envoy.err, pid = nil, tc.pid
			if err := l.Reset(t.Context()); err != nil {
				t.Error(err)
			}
			if got := envoy.levels["main"]; got != tc.want {
				t.Errorf("level is %s, want %s", got, tc.want)
			}
		})
	}
}
