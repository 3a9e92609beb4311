// SPDX-License-Identifier: MPL-2.0

package companion

import (
	"github.com/go-logr/logr"
	"github.com/hashicorp/go-hclog"
)

// Logr lets libraries of Kubernetes log to hclog. What they call info is debug
// here: it is about their own workings.
func Logr(log hclog.Logger) logr.Logger { return logr.New(sink{log}) }

type sink struct{ log hclog.Logger }

// Init implements [logr.LogSink].
func (s sink) Init(logr.RuntimeInfo) {}

// Enabled implements [logr.LogSink]. Level 0 is logr's info.
func (s sink) Enabled(level int) bool {
	if level > 0 {
		return s.log.IsTrace()
	}
	return s.log.IsDebug()
}

// Info implements [logr.LogSink].
func (s sink) Info(level int, message string, pairs ...any) {
	if level > 0 {
		s.log.Trace(message, pairs...)
		return
	}
	s.log.Debug(message, pairs...)
}

// Error implements [logr.LogSink]. Libraries call errors what they try again.
func (s sink) Error(err error, message string, pairs ...any) {
	s.log.Warn(message, append([]any{"error", err}, pairs...)...)
}

// WithValues implements [logr.LogSink].
func (s sink) WithValues(pairs ...any) logr.LogSink { return sink{s.log.With(pairs...)} }

// WithName implements [logr.LogSink].
func (s sink) WithName(name string) logr.LogSink { return sink{s.log.Named(name)} }
