// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import "context"

// upstream answers queries. Its answers are readable, and have the query's ID.
type upstream interface {
	exchange(ctx context.Context, q *query) (message, error)
}

const (
	// maxCalls bounds the calls to the servers under way. More would not be
	// answered sooner, and a call takes many times the memory of a query that
	// waits for its turn.
	maxCalls = 256
	// maxOutside bounds the same for the recursors, and with it the descriptors
	// that waiting for them can take.
	maxOutside = 256
)

// router picks who answers.
type router struct {
	consul    upstream
	recursors upstream // nil if there are none
	domain    string
	metrics   *instruments
	// inside is for queries that are Consul's affair, outside for those that a
	// recursor may be asked: when the ones wait, the others do not.
	inside, outside lane
}

// lane gives the one to wait in.
func (r *router) lane(q *query) *lane {
	if r.isConsuls(q) {
		return &r.inside
	}
	return &r.outside
}

func (r *router) isConsuls(q *query) bool { return r.recursors == nil || q.in(r.domain) }

// exchange asks whom the name is an affair of. Consul knows the names of some
// addresses, so it is asked for all of them first, as it does itself before it
// asks its own recursors.
func (r *router) exchange(ctx context.Context, q *query) (message, error) {
	if r.isConsuls(q) {
		return r.ask(ctx, r.consul, "consul", q)
	}
	if q.isReverse() {
		answer, err := r.ask(ctx, r.consul, "consul", q)
		if err == nil && answer.rcode() == rcodeSuccess && answer.count(sectionAnswer) > 0 {
			return answer, nil
		}
	}
	return r.ask(ctx, r.recursors, "recursors", q)
}

func (r *router) ask(ctx context.Context, u upstream, name string, q *query) (message, error) {
	answer, err := u.exchange(ctx, q)
	if err != nil {
		r.metrics.upstreamErrors.WithLabelValues(name).Inc()
	}
	return answer, err
}
