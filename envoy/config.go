// SPDX-License-Identifier: MPL-2.0

package envoy

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Defaults of [Config]'s durations. The sum of the three stop timeouts stays below two seconds, which is how long a hung
// Envoy may hold a terminating pod.
const (
	DefaultRestartWindow = 10 * time.Minute
	DefaultQuitTimeout   = 700 * time.Millisecond
	DefaultTermTimeout   = 700 * time.Millisecond
	DefaultKillTimeout   = 400 * time.Millisecond
	DefaultMaxBackoff    = 30 * time.Second
	DefaultLivePoll      = 50 * time.Millisecond
)

// Config says how Envoy is run. Zero values mean what each field says.
type Config struct {
	// Path is the executable: a path, or a name that is looked up on PATH. Empty means "envoy".
	Path string
	// ExtraArgs go to Envoy after ours. One that names an option of ours replaces it, in any spelling.
	ExtraArgs []string
	// LogLevel is trace, debug, info, warn, error, critical or off. Empty means info.
	LogLevel string
	// LogJSON makes each line of Envoy's log a JSON object with hclog's keys.
	LogJSON bool
	// Concurrency is the number of worker threads. 0 leaves it to Envoy: one a hardware thread.
	Concurrency int
	// DrainTime is how long a graceful listener drain takes, in whole seconds. 0 drains without delay.
	DrainTime time.Duration
	// DrainStrategy is gradual or immediate. Empty leaves it to Envoy (gradual).
	DrainStrategy string

	// MaxRestarts is how often a crashed Envoy is restarted within RestartWindow. 0 means never.
	MaxRestarts int
	// RestartWindow is the span over which restarts are counted. 0 means [DefaultRestartWindow].
	RestartWindow time.Duration
	// MaxBackoff bounds the pause before a restart. 0 means [DefaultMaxBackoff].
	MaxBackoff time.Duration

	// QuitTimeout, TermTimeout and KillTimeout bound the steps of [Supervisor.Stop]: admin quit, SIGTERM, SIGKILL. 0
	// means the defaults above.
	QuitTimeout, TermTimeout, KillTimeout time.Duration

	// Admin reaches the admin API of the Envoy that is run. With nil there is no quit before SIGTERM, and Envoy counts
	// as LIVE from its start.
	Admin *Admin
	// LivePoll is the pause between two looks at the state of an Envoy that is not LIVE yet. 0 means [DefaultLivePoll].
	LivePoll time.Duration

	// Stdout and Stderr take Envoy's output. nil means podplane's own.
	Stdout, Stderr io.Writer
	// Env is Envoy's environment. nil means podplane's own.
	Env []string
	// Registerer takes the collectors podplane_envoy_…; nil leaves them unregistered.
	Registerer prometheus.Registerer
}

func (c Config) withDefaults() Config {
	setDefault(&c.Path, "envoy")
	setDefault(&c.LogLevel, "info")
	setDefault(&c.RestartWindow, DefaultRestartWindow)
	setDefault(&c.MaxBackoff, DefaultMaxBackoff)
	setDefault(&c.QuitTimeout, DefaultQuitTimeout)
	setDefault(&c.TermTimeout, DefaultTermTimeout)
	setDefault(&c.KillTimeout, DefaultKillTimeout)
	setDefault(&c.LivePoll, DefaultLivePoll)
	if c.Stdout == nil {
		c.Stdout = os.Stdout
	}
	if c.Stderr == nil {
		c.Stderr = os.Stderr
	}
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// lookPath resolves the executable and says in plain words what is wrong with it.
func lookPath(path string) (string, error) {
	found, err := exec.LookPath(path)
	switch {
	case err == nil:
		return found, nil
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("find envoy: no executable %q on PATH", path)
	case errors.Is(err, os.ErrNotExist):
		return "", fmt.Errorf("find envoy: %q does not exist", path)
	case errors.Is(err, os.ErrPermission):
		return "", fmt.Errorf("find envoy: %q is not executable", path)
	default:
		return "", fmt.Errorf("find envoy: %w", err)
	}
}
