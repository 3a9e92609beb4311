// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"errors"
	"slices"

	"github.com/hashicorp/go-hclog"
)

// What the connection manager logs and this package acts on. A test has the
// real one log them, so that an update that words them anew does not pass.
const (
	msgConnectionError  = "connection error"
	msgConnectionEnded  = "context error: connection error"
	msgSwitchingTo      = "switching to Consul server"
	msgExecutingCommand = "Executing command"
)

// watcherLog is the logger given to the connection manager. Its log is the only
// place where the connection manager tells of failed attempts and lost servers,
// in the goroutine that makes them; watcherLog hands those to the link. The lines themselves become traces: what
// people need to know is said once, by the session, in plain words.
type watcherLog struct {
	hclog.Logger
	link *link
}

func newWatcherLog(log hclog.Logger, l *link) hclog.Logger {
	return watcherLog{log.Named("watcher"), l}
}

func (w watcherLog) Trace(msg string, args ...any) { w.note(msg, args) }
func (w watcherLog) Debug(msg string, args ...any) { w.note(msg, args) }
func (w watcherLog) Info(msg string, args ...any)  { w.note(msg, args) }
func (w watcherLog) Warn(msg string, args ...any)  { w.note(msg, args) }
func (w watcherLog) Error(msg string, args ...any) { w.note(msg, args) }

func (w watcherLog) note(msg string, args []any) {
	switch msg {
	case msgConnectionError, msgConnectionEnded:
		w.link.failed(errorAmong(args))
	case msgSwitchingTo:
		w.link.trying()
	case msgExecutingCommand:
		return // arguments of discovery commands hold secrets
	}
	w.Logger.Trace(msg, w.withoutSecrets(args)...)
}

// withoutSecrets gives a line's arguments with errors as text that is fit for a
// log, since servers may repeat what they were sent.
func (w watcherLog) withoutSecrets(args []any) []any {
	if w.link == nil {
		return args // of discovery alone, which has sent nothing
	}
	args = slices.Clone(args)
	for i, arg := range args {
		if err, ok := arg.(error); ok {
			args[i] = w.link.session.redact(err.Error())
		}
	}
	return args
}

// errorAmong finds the error in a line's key/value pairs.
func errorAmong(args []any) error {
	for _, arg := range args {
		if err, ok := arg.(error); ok {
			return err
		}
	}
	return errors.New("unknown error")
}
