// SPDX-License-Identifier: MPL-2.0

package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// LogLevelPath is the endpoint that changes the log level for a while.
const LogLevelPath = "/loglevel"

const (
	// DefaultLogLevelFor is how long a level lasts that is asked for without a time.
	DefaultLogLevelFor = 5 * time.Minute
	// maxLogLevelFor bounds it: what is forgotten at debug level fills disks.
	maxLogLevelFor = 24 * time.Hour
	// resetTimeout bounds the way back to the levels of before.
	resetTimeout = 5 * time.Second
	// resetPause is the pause before the next try of a way back that failed.
	resetPause = 10 * time.Second
)

// Levels are the log levels that can be changed while the pod runs. The methods are called one at a time.
type Levels interface {
	// Set makes everything log at the level. What can be set is set, even if the error tells of something that cannot.
	Set(ctx context.Context, level string) error
	// Reset brings back the levels of before the first Set. It is called again until there is no error.
	Reset(ctx context.Context) error
}

// LogLevel changes the log level for a while and then brings back what was before. [LogLevel.Run] is called once.
type LogLevel struct {
	levels Levels
	log    hclog.Logger
	news   chan struct{} // holds one when now has changed

	changing sync.Mutex // held while the levels are changed, which takes as long as the proxy does
	mu       sync.Mutex // guards now; never held over a call of levels
	now      LevelState
}

// LevelState says which level is in force.
type LevelState struct {
	// Level is the level that was asked for; empty when it is the usual one.
	Level string `json:"level,omitempty"`
	// Until is when the usual one comes back.
	Until time.Time `json:"until,omitzero"`
}

// NewLogLevel gives a LogLevel that changes the levels.
func NewLogLevel(levels Levels, log hclog.Logger) *LogLevel {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	return &LogLevel{levels: levels, log: log, news: make(chan struct{}, 1)}
}

// errLevel and errFor refuse what a client asked for.
var (
	errLevel = errors.New("level must be trace, debug, info, warn, error or off")
	errFor   = fmt.Errorf("for must be a time such as 90s or 5m, up to %s", maxLogLevelFor)
)

// Override sets the level for a while. A later call replaces the earlier ones.
func (l *LogLevel) Override(ctx context.Context, level string, lasting time.Duration) (LevelState, error) {
	if !slices.Contains([]string{"trace", "debug", "info", "warn", "error", "off"}, level) {
		return LevelState{}, errLevel
	}
	if lasting <= 0 || lasting > maxLogLevelFor {
		return LevelState{}, errFor
	}
	l.changing.Lock()
	defer l.changing.Unlock()
	// Warn, because a log level of warn would hide who turned the light off.
	l.log.Warn("log level changes for a while", "level", level, "for", lasting)
	now := LevelState{Level: level, Until: time.Now().Add(lasting)}
	l.set(now)
	select {
	case l.news <- struct{}{}:
	default:
	}
	return now, l.levels.Set(ctx, level)
}

// Run brings the usual levels back when the time is over. It returns nil at the end of ctx.
func (l *LogLevel) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.news:
		case <-timer.C:
		}
		if next := l.expire(ctx); next > 0 {
			timer.Reset(next)
		}
	}
}

// expire resets the levels if their time is over. It gives the time until it is to be called again, 0 for never.
func (l *LogLevel) expire(ctx context.Context) time.Duration {
	l.changing.Lock()
	defer l.changing.Unlock()
	now := l.State()
	if now.Level == "" {
		return 0
	}
	if left := time.Until(now.Until); left > 0 {
		return left
	}
	ctx, cancel := context.WithTimeout(ctx, resetTimeout)
	defer cancel()
	if err := l.levels.Reset(ctx); err != nil {
		l.log.Warn("log level is not back to normal everywhere, trying again", "error", err, "retry_in", resetPause)
		return resetPause
	}
	l.set(LevelState{})
	l.log.Info("log level is back to normal")
	return 0
}

// State is the level in force. It waits for nobody.
func (l *LogLevel) State() LevelState {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

func (l *LogLevel) set(now LevelState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = now
}

// logLevel takes ?level= and ?for=.
func (s *Server) logLevel(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	lasting := DefaultLogLevelFor
	if text := query.Get("for"); text != "" {
		var err error
		if lasting, err = time.ParseDuration(text); err != nil {
			http.Error(w, errFor.Error(), http.StatusBadRequest)
			return
		}
	}
	state, err := s.cfg.LogLevel.Override(r.Context(), query.Get("level"), lasting)
	switch {
	case errors.Is(err, errLevel), errors.Is(err, errFor):
		http.Error(w, err.Error(), http.StatusBadRequest)
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadGateway)
	default:
		writeJSON(w, http.StatusOK, state)
	}
}
