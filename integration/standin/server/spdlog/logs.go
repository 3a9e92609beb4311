// SPDX-License-Identifier: MPL-2.0

package spdlog

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Config says how and what to write.
type Config struct {
	Output     io.Writer
	Format     string            // --log-format
	Escape     bool              // --log-format-escaped
	Level      string            // the default level, spelled as spdlog does
	Levels     map[string]string // levels of components that differ from it
	Components []string          // every component that /logging shall list
}

// Logs is the root of a program's loggers. It is safe for concurrent use.
type Logs struct {
	root    hclog.InterceptLogger
	pattern pattern
	escape  bool

	mu     sync.Mutex // guards out and levels
	out    io.Writer
	levels map[string]int
	normal int
}

var order = [...]string{"trace", "debug", "info", "warning", "error", "critical", "off"}

// What /logging answers to a change that it refuses, in Envoy's words.
var (
	errLevel = errors.New("unknown logger level")
	errName  = errors.New("unknown logger name")
)

func rank(level string) int { return slices.Index(order[:], level) }

// New starts a program's logging. An unknown level counts as "info".
func New(cfg Config) *Logs {
	l := &Logs{
		root:    hclog.NewInterceptLogger(&hclog.LoggerOptions{Output: io.Discard, Level: hclog.Trace}),
		pattern: compile(cfg.Format),
		escape:  cfg.Escape,
		out:     cfg.Output,
		levels:  map[string]int{},
		normal:  max(0, rank(cfg.Level)),
	}
	if rank(cfg.Level) < 0 {
		l.normal = rank("info")
	}
	for _, name := range cfg.Components {
		l.levels[name] = l.normal
	}
	for name, level := range cfg.Levels {
		l.levels[name] = max(0, rank(level))
	}
	l.root.RegisterSink(l)
	return l
}

// Logger gives the logger of a component such as "main" or "upstream".
func (l *Logs) Logger(component string) hclog.Logger { return l.root.Named(component) }

// Critical logs at spdlog's highest level, which hclog does not have.
func (l *Logs) Critical(component, message string, args ...any) {
	l.write(component, "critical", message, args)
}

// Accept is called by hclog with each record; it is not meant for others.
func (l *Logs) Accept(name string, level hclog.Level, msg string, args ...any) {
	text := level.String()
	if level == hclog.Warn {
		text = "warning"
	}
	l.write(name, text, msg, args)
}

func (l *Logs) write(component, level, message string, args []any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	limit, ok := l.levels[component]
	if !ok {
		limit = l.normal
	}
	if rank(level) < limit {
		return
	}
	message += fields(args)
	if l.escape {
		message = jsonEscape(message)
	}
	line := l.pattern.format(record{at: time.Now(), level: level, component: component, message: message})
	// There is nowhere left to report a log that cannot be written.
	_, _ = io.WriteString(l.out, line+"\n")
}

// fields renders hclog's key/value pairs behind the message.
func fields(args []any) string {
	var b strings.Builder
	for len(args) >= 2 {
		value := fmt.Sprint(args[1])
		if f, ok := args[1].(hclog.Format); ok && len(f) > 0 {
			value = fmt.Sprintf(fmt.Sprint(f[0]), f[1:]...)
		}
		if value == "" || strings.ContainsAny(value, " \"=") {
			value = fmt.Sprintf("%q", value)
		}
		fmt.Fprintf(&b, " %v=%s", args[0], value)
		args = args[2:]
	}
	return b.String()
}

// Levels gives the level of each component, by name.
func (l *Logs) Levels() map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	levels := make(map[string]string, len(l.levels))
	for name, level := range l.levels {
		levels[name] = order[level]
	}
	return levels
}

// SetAll changes the level of every component.
func (l *Logs) SetAll(level string) error {
	value := rank(level)
	if value < 0 {
		return errLevel
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.normal = value
	for name := range l.levels {
		l.levels[name] = value
	}
	return nil
}

// Set changes the level of some components, of all of them or of none.
func (l *Logs) Set(levels map[string]string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	changed := maps.Clone(l.levels)
	for name, level := range levels {
		value := rank(level)
		if value < 0 {
			return errLevel
		}
		if _, ok := changed[name]; !ok {
			return errName
		}
		changed[name] = value
	}
	l.levels = changed
	return nil
}
