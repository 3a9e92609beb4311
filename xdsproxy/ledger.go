// SPDX-License-Identifier: MPL-2.0

package xdsproxy

import (
	"strconv"
	"time"

	"google.golang.org/grpc/mem"
)

// localGen marks deliveries from the cache; upstream streams count from 1.
const localGen = 0

// ledger keeps the books of one Envoy stream: what Envoy subscribed to, what it
// accepted, and what is on its way. It decides what is said to whom and does
// not say it: it has no locks, no goroutines and no connections.
type ledger struct {
	cache *cache // nil: nothing is kept for the next Envoy
	now   func() time.Time

	node       []byte    // of Envoy's first request
	introduced time.Time // when the upstream stream in use had the node, with its first request
	types      map[string]*subscription
	order      []*subscription // in Envoy's order of asking
	gen        uint64          // the upstream stream in use; localGen if there is none
	deliveries uint64          // counts what is sent to Envoy

	// warming holds the clusters that were sent to Envoy, each with the number of
	// its delivery. A cluster that is replaced warms until Envoy is given its
	// endpoints once more, also if they are the ones that it holds: until Envoy
	// has accepted them in a later delivery, they are asked for as if it held
	// none. Consul names endpoints after their cluster.
	warming map[string]uint64
}

func newLedger(c *cache, now func() time.Time) *ledger {
	return &ledger{cache: c, now: now, types: make(map[string]*subscription), warming: make(map[string]uint64)}
}

// orders says what to send after an event, in that order.
type orders struct {
	upstream []*frame // to the server
	envoy    []*frame // to Envoy, from the cache
}

// connect begins a new upstream stream and gives the requests that start it.
func (l *ledger) connect(gen uint64) orders {
	l.gen = gen
	l.introduced = time.Time{}
	var o orders
	for _, s := range l.order {
		l.sync(s, &o)
	}
	return o
}

// disconnect notes that the upstream stream is gone.
func (l *ledger) disconnect() {
	l.gen, l.introduced = localGen, time.Time{}
	for _, s := range l.order {
		s.synced, s.pruned = false, false
	}
}

// sync sends the first request of a type once there is a server to send it to
// and Envoy has answered what it was sent before. Only then its versions are
// known, and nothing is lost or sent twice.
func (l *ledger) sync(s *subscription, o *orders) {
	if l.gen == localGen || s.synced || s.pending.any() || !s.wanted() {
		return
	}
	r := s.first(func(name, version string) bool { return l.resend(s, name, version) })
	if l.introduced.IsZero() {
		r.node, l.introduced = l.node, l.now()
	}
	s.synced = true
	o.upstream = append(o.upstream, r.frame())
}

// resend tells whether a resource that Envoy holds has to be sent again: for
// Envoy, because its cluster warms, or for the cache, because Envoy had it from
// an earlier stream whose answer never arrived here.
func (l *ledger) resend(s *subscription, name, version string) bool {
	if _, warms := l.warming[name]; warms && s.typeURL == endpointType {
		return true
	}
	return l.cache != nil && l.cache.of(s.typeURL)[name].version != version
}

// request takes one request of Envoy's, whose bytes are message. They belong to the
// ledger from then on.
func (l *ledger) request(message []byte, r request) orders {
	var o orders
	if l.node == nil {
		l.node = r.node
	}
	s, known := l.types[r.typeURL]
	if !known {
		s = newSubscription(r)
		l.types[r.typeURL] = s
		l.order = append(l.order, s)
	}
	d, answered := s.pending.take(r.nonce)
	if answered {
		l.settle(s, d, r)
	}
	if known {
		l.subscribe(s, r)
	}
	if s.synced {
		l.forward(message, r, d, &o)
		return o
	}
	l.serve(s, r, known, &o)
	l.sync(s, &o)
	return o
}

// subscribe notes the changes that a later request of a type makes.
func (l *ledger) subscribe(s *subscription, r request) {
	s.drop(r.unsubscribe)
	if s.typeURL == endpointType {
		for _, name := range r.unsubscribe {
			delete(l.warming, name)
		}
	}
	if l.cache != nil && !s.wildcard {
		l.cache.remove(s.typeURL, r.unsubscribe)
	}
	s.add(r.subscribe)
	for _, name := range r.subscribe {
		delete(s.held, name) // asked for again, so wanted again
	}
}

// settle books Envoy's answer to a delivery.
func (l *ledger) settle(s *subscription, d delivery, r request) {
	defer d.data.Free()
	if r.rejected {
		s.status.nack(l.now(), r.reason)
		return
	}
	s.status.ack(l.now())
	for _, ref := range d.response.resources {
		if s.subscribed(ref.name) {
			s.held[ref.name] = ref.version
		}
		if s.typeURL == endpointType && l.warming[ref.name] < d.number {
			delete(l.warming, ref.name)
		}
	}
	for _, name := range d.response.removed {
		delete(s.held, name)
	}
	s.status.Resources = len(s.held)
	if l.cache != nil {
		l.keep(s, d)
	}
}

// keep puts what Envoy accepted into the cache.
func (l *ledger) keep(s *subscription, d delivery) {
	l.cache.establish(s.typeURL)
	l.cache.remove(s.typeURL, d.response.removed)
	if d.gen == localGen {
		return // it came from there
	}
	message := newCursor(d.data)
	for _, ref := range d.response.resources {
		if s.subscribed(ref.name) {
			l.cache.take(s.typeURL, &message, ref)
		}
	}
	if d.gen == l.gen && !s.pruned {
		l.cache.retain(s.typeURL, s.held)
		s.pruned = true
	}
}

// forward passes a request on to the server that the type is synced with. An
// answer to an older server's response, or to the cache's, stays here; what it
// subscribes to besides does not.
func (l *ledger) forward(message []byte, r request, d delivery, o *orders) {
	changes := request{typeURL: r.typeURL, subscribe: r.subscribe, unsubscribe: r.unsubscribe}
	switch {
	case r.nonce == "":
		o.upstream = append(o.upstream, newFrame(message, r.typeURL))
		return
	case d.gen != l.gen:
	case r.rejected && len(r.subscribe) > 0:
		// Consul loses the subscriptions of a NACK; they follow by themselves.
		o.upstream = append(o.upstream, answer(message, r.typeURL, d))
		changes.unsubscribe = nil
	default:
		o.upstream = append(o.upstream, answer(message, r.typeURL, d))
		return
	}
	if len(changes.subscribe)+len(changes.unsubscribe) > 0 {
		o.upstream = append(o.upstream, changes.frame())
	}
}

// answer gives Envoy's answer to a delivery as the server is to see it, with the nonce
// of its own: a later scalar field of a message overrides an earlier one.
func answer(message []byte, typeURL string, d delivery) *frame {
	return newFrame(appendStrings(message, requestNonce, d.upstream), typeURL)
}

// serve answers a request from the cache, as far as it can, while the type is
// not synced with a server.
func (l *ledger) serve(s *subscription, r request, known bool, o *orders) {
	if l.cache == nil || !l.cache.has(s.typeURL) || (known && len(r.subscribe) == 0) {
		return
	}
	cached := l.cache.of(s.typeURL)
	names := r.subscribe
	if s.wildcard {
		names = l.cache.names(s.typeURL)
	}
	d := delivery{gen: localGen}
	var resources []resource
	for _, name := range names {
		res, ok := cached[name]
		if !ok || (s.held[name] == res.version && !l.resend(s, name, res.version)) {
			continue
		}
		d.response.resources = append(d.response.resources, resourceRef{name: name, version: res.version})
		resources = append(resources, res)
	}
	if s.wildcard {
		d.response.removed = l.vanished(s)
	} else if len(resources) == 0 {
		return
	}
	d.nonce = "cache." + strconv.FormatUint(l.deliveries, 16)
	l.book(s, d)
	o.envoy = append(o.envoy, encodeResponse(s.typeURL, d.nonce, resources, d.response.removed))
}

// vanished gives the names that Envoy says it holds and the cache does not.
func (l *ledger) vanished(s *subscription) []string {
	var names []string
	for name := range s.held {
		if _, ok := l.cache.of(s.typeURL)[name]; !ok {
			names = append(names, name)
		}
	}
	return names
}

// response books a response of the upstream stream in use, whose bytes are data, and
// gives the nonce that Envoy is to see, which names that stream; "" leaves the
// server's as it is.
func (l *ledger) response(r response, data mem.BufferSlice) (nonce string) {
	s := l.types[r.typeURL]
	if s == nil {
		return "" // of a type that nobody asked for; Envoy decides
	}
	d := delivery{
		nonce:    strconv.FormatUint(l.gen, 16) + "." + r.nonce,
		gen:      l.gen,
		upstream: r.nonce,
		response: r,
	}
	if l.cache != nil {
		data.Ref()
		d.data = data
	}
	l.book(s, d)
	return d.nonce
}

// book enters a delivery that is about to be sent.
func (l *ledger) book(s *subscription, d delivery) {
	l.deliveries++
	d.number = l.deliveries
	s.pending.add(d)
	if s.typeURL != clusterType {
		return
	}
	for _, ref := range d.response.resources {
		l.warming[ref.name] = d.number
	}
	for _, name := range d.response.removed {
		delete(l.warming, name)
	}
}

// close gives back what is kept of deliveries that were never answered. What is
// still said on a stream that has been replaced does not reach the cache.
func (l *ledger) close() {
	l.cache = nil
	for _, s := range l.order {
		s.pending.clear()
	}
}
