// SPDX-License-Identifier: MPL-2.0

package envoy

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// State is the state of Envoy's server.
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/admin/v3/server_info.proto
type State string

// The states of Envoy's server.
const (
	Live            State = "LIVE"
	Draining        State = "DRAINING"
	PreInitializing State = "PRE_INITIALIZING"
	Initializing    State = "INITIALIZING"
)

// State asks /ready, which answers in every state: with 200 when LIVE, else with 503 and the state's name.
func (a *Admin) State(ctx context.Context) (State, error) {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Timeout)
	defer cancel()
	var state State
	err := a.call(ctx, http.MethodGet, "/ready", func(status int, body io.Reader) error {
		text, err := io.ReadAll(io.LimitReader(body, maxErrorText))
		if err != nil {
			return err
		}
		switch name := State(strings.TrimSpace(string(text))); {
		case status == http.StatusOK && name == Live:
			state = name
		case status == http.StatusServiceUnavailable && name.known() && name != Live:
			state = name
		default:
			return &StatusError{Code: status, Body: string(name)}
		}
		return nil
	})
	return state, err
}

func (s State) known() bool {
	switch s {
	case Live, Draining, PreInitializing, Initializing:
		return true
	default:
		return false
	}
}

// DrainInbound starts the graceful drain of the listeners with traffic direction INBOUND: clients are told to leave, by
// `connection: close` and GOAWAY. With skip_exit Envoy never closes those listeners by itself, see
// [Admin.RefuseInbound]; without it, it would do so after its drain time, and newer versions would exit as well.
func (a *Admin) DrainInbound(ctx context.Context) error {
	return a.post(ctx, "/drain_listeners?inboundonly&graceful&skip_exit")
}

// RefuseInbound closes the listeners with traffic direction INBOUND at once. Connections that are open stay so, and
// outbound traffic keeps working.
func (a *Admin) RefuseInbound(ctx context.Context) error {
	return a.post(ctx, "/drain_listeners?inboundonly")
}

// Quit asks Envoy to exit. A nil error means that it has taken the request.
func (a *Admin) Quit(ctx context.Context) error { return a.post(ctx, "/quitquitquit") }

// SetLogLevel sets the level of all of Envoy's loggers: trace, debug, info, warn, error, critical or off.
func (a *Admin) SetLogLevel(ctx context.Context, level string) error {
	l, err := logLevel(level)
	if err != nil {
		return fmt.Errorf("set log level of envoy: %w", err)
	}
	return a.post(ctx, "/logging?"+url.Values{"level": {l}}.Encode())
}

// LogLevels gives the level of each of Envoy's loggers.
func (a *Admin) LogLevels(ctx context.Context) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Timeout)
	defer cancel()
	levels := map[string]string{}
	err := a.call(ctx, http.MethodPost, "/logging", wantOK(func(body io.Reader) error {
		text, err := readAll(body)
		for line := range strings.Lines(string(text)) {
			// "  upstream: info"; a heading and an empty line have no level.
			name, level, found := strings.Cut(strings.TrimSpace(line), ": ")
			if found {
				levels[name] = level
			}
		}
		return err
	}))
	return levels, err
}

// RestoreLogLevels sets each logger to its own level, as LogLevels gave them.
func (a *Admin) RestoreLogLevels(ctx context.Context, levels map[string]string) error {
	pairs := make([]string, 0, len(levels))
	for _, name := range slices.Sorted(maps.Keys(levels)) {
		pairs = append(pairs, name+":"+levels[name])
	}
	return a.post(ctx, "/logging?"+url.Values{"paths": {strings.Join(pairs, ",")}}.Encode())
}

// ConfigDump copies the whole configuration, endpoints included, to w, without holding it in memory. Envoy redacts
// private keys in it.
func (a *Admin) ConfigDump(ctx context.Context, w io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.DumpTimeout)
	defer cancel()
	return a.call(ctx, http.MethodGet, "/config_dump?include_eds", wantOK(func(body io.Reader) error {
		_, err := io.Copy(w, body)
		return err
	}))
}
