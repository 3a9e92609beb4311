// SPDX-License-Identifier: MPL-2.0

package lifecycle

import (
	"context"
	"fmt"
	"time"
)

// Proxy is what a shutdown needs of the proxy. All methods are safe for concurrent use.
type Proxy interface {
	// Incarnation counts the proxies that have been able to carry traffic so far. 0 means that there is nothing to drain;
	// a change means that a new one has taken the place of the old one and knows nothing of a drain.
	Incarnation() int
	// DrainInbound makes the proxy ask inbound clients to leave. It still takes what they send.
	DrainInbound(ctx context.Context) error
	// RefuseInbound makes the proxy refuse new inbound connections and leave outbound traffic alone.
	RefuseInbound(ctx context.Context) error
	// InFlight counts what would be cut off by ending the proxy now.
	InFlight(ctx context.Context) (int, error)
	// Stop ends the proxy by whatever it takes and returns when it is gone. It hurries when ctx ends.
	Stop(ctx context.Context) error
	// Kill ends the proxy at once and does not wait.
	Kill()
}

// State is where the shutdown is.
type State string

// The states of a shutdown, in their order.
const (
	Running  State = "running"
	Draining State = "draining"
	Stopping State = "stopping"
	Stopped  State = "stopped"
)

// WhenIdle says whether a shutdown ends as soon as nothing is in flight, or keeps its whole grace period.
type WhenIdle string

// The choices of [WhenIdle].
const (
	// IdleAuto ends at idleness when the application asked for the shutdown, over HTTP: it has said itself that it is
	// done. One by signal keeps its grace period: the application may still need its upstreams.
	IdleAuto WhenIdle = "auto"
	// IdleAlways ends at idleness whoever asked.
	IdleAlways WhenIdle = "always"
	// IdleNever keeps the whole grace period whoever asked.
	IdleNever WhenIdle = "never"
)

// Source is who asks for a shutdown.
type Source string

// The sources of a shutdown.
const (
	BySignal Source = "signal"
	ByHTTP   Source = "http"
)

// Request is a wish to shut down.
type Request struct {
	By Source
	// Detail says more: the signal's name, or the request's method and path.
	Detail string
	// Now asks for the end without drain or grace.
	Now bool
}

// Reason is the request as one string for people.
func (r Request) Reason() string {
	if r.Detail == "" {
		return string(r.By)
	}
	return fmt.Sprintf("%s: %s", r.By, r.Detail)
}

// Shutdown is a snapshot of the shutdown.
type Shutdown struct {
	State State `json:"state"`
	// Reason is who asked for it first.
	Reason string `json:"reason,omitempty"`
	// Since is when that was.
	Since time.Time `json:"since,omitzero"`
	// Deadline is when the proxy is ended at the latest.
	Deadline time.Time `json:"deadline,omitzero"`
	// WhenIdle tells whether it ends before the deadline when nothing is in flight.
	WhenIdle bool `json:"ends_when_idle"`
	// ActiveConnections counts what was in flight at the last look: requests, and connections other than HTTP. nil means
	// that it is not known.
	ActiveConnections *int `json:"active_connections"`
	// LastError is the last thing that went wrong in it.
	LastError string `json:"last_error,omitempty"`
}
