// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import "context"

// upstream answers queries. Its answers are readable, and have the query's ID.
type upstream interface {
	exchange(ctx context.Context, q *query) (message, error)
}

// router picks who answers.
type router struct {
	consul    upstream
	recursors upstream // nil if there are none
	domain    string
	metrics   *instruments
}

// exchange asks whom the name is an affair of. Consul knows the names of some
// addresses, so it is asked for all of them first, as it does itself before it
// asks its own recursors.
func (r *router) exchange(ctx context.Context, q *query) (message, error) {
	if r.recursors == nil || q.in(r.domain) {
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
