// SPDX-License-Identifier: MPL-2.0

package dataplane

import (
	"context"
	"fmt"

	"github.com/hashicorp/go-hclog"
)

// logLevels are the levels of podplane and of the Envoy that runs, for
// lifecycle.LogLevel, which calls them one at a time.
type logLevels struct {
	log   hclog.Logger
	usual hclog.Level
	// envoy is nil where there is none, and tells nothing while none runs.
	envoy interface {
		LogLevels(ctx context.Context) (map[string]string, error)
		SetLogLevel(ctx context.Context, level string) error
		RestoreLogLevels(ctx context.Context, levels map[string]string) error
	}
	pid    func() int        // of the Envoy that runs, 0 while none does
	before map[string]string // Envoy's own, by logger; nil when it has them
	of     int               // PID of the Envoy that had them; another one has its own
}

// Set implements lifecycle.Levels.
func (l *logLevels) Set(ctx context.Context, level string) error {
	l.log.SetLevel(hclog.LevelFromString(level))
	pid := l.pid()
	if pid == 0 {
		return nil // an Envoy that is started later has the usual levels
	}
	if l.before == nil || l.of != pid {
		before, err := l.envoy.LogLevels(ctx)
		if err != nil {
			return fmt.Errorf("podplane logs at level %s, envoy does not: %w", level, err)
		}
		l.before, l.of = before, pid
	}
	if err := l.envoy.SetLogLevel(ctx, level); err != nil {
		return fmt.Errorf("podplane logs at level %s, envoy does not: %w", level, err)
	}
	return nil
}

// Reset implements lifecycle.Levels. Envoy gets back what each of its loggers had,
// for its arguments may have set some of them. What they had is kept until Envoy
// has taken it, or is gone.
func (l *logLevels) Reset(ctx context.Context) error {
	l.log.SetLevel(l.usual)
	if l.before != nil && l.of == l.pid() {
		if err := l.envoy.RestoreLogLevels(ctx, l.before); err != nil {
			return err
		}
	}
	l.before = nil
	return nil
}

// newLogLevels gives those of this dataplane.
func (d *Dataplane) newLogLevels() *logLevels {
	l := &logLevels{log: d.log, usual: d.log.GetLevel(), pid: func() int { return 0 }}
	if d.supervisor != nil {
		l.envoy = d.admin
		l.pid = d.supervisor.PID
	}
	return l
}
