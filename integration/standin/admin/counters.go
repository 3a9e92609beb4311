// SPDX-License-Identifier: MPL-2.0

package admin

import (
	"fmt"
	"net"
	"net/http"

	"podplane/integration/standin/stats"
)

// counters are the endpoint's own statistics: http.admin.* and listener.admin.*.
type counters struct{ http, listener *stats.Scope }

func newCounters(store *stats.Store) counters {
	c := counters{http: store.Scope("http.admin."), listener: store.Scope("listener.admin.")}
	for _, scope := range []*stats.Scope{c.http, c.listener} {
		scope.Counter("downstream_cx_total").Add(0)
		scope.Gauge("downstream_cx_active").Add(0)
		scope.Counter("downstream_cx_destroy").Add(0)
	}
	c.http.Counter("downstream_rq_total").Add(0)
	c.http.Gauge("downstream_rq_active").Add(0)
	return c
}

// connection follows net/http's connection states.
func (c counters) connection(_ net.Conn, state http.ConnState) {
	var delta int64
	switch state {
	case http.StateNew:
		delta = 1
	case http.StateClosed, http.StateHijacked:
		delta = -1
	case http.StateActive, http.StateIdle:
		return
	}
	for _, scope := range []*stats.Scope{c.http, c.listener} {
		scope.Gauge("downstream_cx_active").Add(delta)
		if delta > 0 {
			scope.Counter("downstream_cx_total").Inc()
		} else {
			scope.Counter("downstream_cx_destroy").Inc()
		}
	}
}

func (c counters) begin() {
	c.http.Counter("downstream_rq_total").Inc()
	c.http.Gauge("downstream_rq_active").Inc()
}

func (c counters) end(code int) {
	c.http.Gauge("downstream_rq_active").Dec()
	class := fmt.Sprintf("_%dxx", code/100)
	c.http.Counter("downstream_rq" + class).Inc()
	c.http.Counter("downstream_rq_completed").Inc()
	c.listener.Counter("http.admin.downstream_rq" + class).Inc()
	c.listener.Counter("http.admin.downstream_rq_completed").Inc()
}
