// SPDX-License-Identifier: MPL-2.0

package dataplane

import (
	"errors"

	"podplane/config"
	"podplane/envoy"
	"podplane/serverconn"
	"podplane/xdsproxy"
)

// The exit codes of podplane. An Envoy that crashed more often than it may be
// restarted gives podplane its own code instead.
const (
	ExitClean     = 0  // a shutdown that was asked for
	ExitOther     = 1  // anything that has no code of its own
	ExitConfig    = 2  // the configuration is wrong, nothing was started
	ExitListen    = 10 // an address cannot be bound
	ExitEnvoy     = 11 // Envoy cannot be started
	ExitRefused   = 12 // the Consul servers refuse the credentials
	ExitBootstrap = 13 // Envoy's bootstrap cannot be built from the proxy's config
	ExitXDS       = 14 // the Consul servers refuse to configure this proxy
)

// maxRefusals is after how many refusals in a row a proxy that was never served
// gives up.
const maxRefusals = 5

// codedError is an error with the exit code of its kind.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

func coded(code int, err error) error {
	if err == nil {
		return nil
	}
	return &codedError{code, err}
}

// ExitCode gives the exit code for what New, Run or config.Load returned.
func ExitCode(err error) int {
	var (
		withCode *codedError
		crashed  *envoy.ExitError
		refused  *xdsproxy.RefusedError
		settings *config.Error
	)
	switch {
	case err == nil:
		return ExitClean
	case errors.As(err, &settings):
		return ExitConfig
	case errors.As(err, &crashed):
		return crashed.ExitCode()
	case errors.As(err, &refused):
		return ExitXDS
	case errors.Is(err, serverconn.ErrRefused):
		return ExitRefused
	case errors.As(err, &withCode):
		return withCode.code
	default:
		return ExitOther
	}
}
