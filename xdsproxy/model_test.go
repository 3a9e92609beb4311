// SPDX-License-Identifier: MPL-2.0

package xdsproxy

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
)

// TestModel lets a ledger stand between a model of a Consul server and a model of
// Envoy, and lets chance decide what happens next: messages arrive, in order on
// each stream and in any order among them; servers are lost and found;
// resources change and vanish; Envoy rejects, restarts, or reconnects. When calm
// has come back, Envoy must hold what the server has, and wait for nothing.
func TestModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		for _, cached := range []bool{true, false} {
			t.Run(fmt.Sprintf("seed=%d,cache=%t", seed, cached), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, seed, cached)
				for range 10_000 {
					w.step()
				}
				w.calm()
				w.compare()
			})
		}
	}
}

type world struct {
	t      *testing.T
	rnd    *rand.Rand
	cache  *cache
	ledger *ledger
	gen    uint64
	count  int // versions given out

	resources map[string]map[string]string // type to name to version: what the servers have
	server    *modelServer                 // the stream at a server; nil while there is none
	envoy     *modelEnvoy
	strict    bool // Envoy accepts everything

	toLedger []*deltaRequest  // from Envoy
	toEnvoy  []*deltaResponse // from the ledger
	toServer []*deltaRequest
	fromUp   []*deltaResponse
}

func newWorld(t *testing.T, seed uint64, cached bool) *world {
	t.Helper()
	w := &world{
		t: t, rnd: rand.New(rand.NewPCG(seed, 17)),
		resources: map[string]map[string]string{clusterType: {}, endpointType: {}},
	}
	if cached {
		w.cache = newCache()
	}
	w.startEnvoy(true)
	return w
}

func (w *world) version() string {
	w.count++
	return strconv.Itoa(w.count)
}

// step does one of the things that can happen.
func (w *world) step() {
	switch n := w.rnd.IntN(100); {
	case n < 80:
		w.deliver()
	case n < 92:
		w.change()
	case n < 95:
		w.lose()
	case n < 98:
		w.find()
	case n < 99:
		w.startEnvoy(true)
	default:
		w.startEnvoy(false)
	}
}

// change changes a cluster, its endpoints, or its existence.
func (w *world) change() {
	name := "c" + strconv.Itoa(w.rnd.IntN(8))
	clusters, endpoints := w.resources[clusterType], w.resources[endpointType]
	switch _, exists := clusters[name]; {
	case !exists:
		clusters[name], endpoints[name] = w.version(), w.version()
	case w.rnd.IntN(3) == 0:
		delete(clusters, name)
		delete(endpoints, name)
	case w.rnd.IntN(2) == 0:
		clusters[name] = w.version()
	default:
		endpoints[name] = w.version()
	}
	if w.server != nil {
		w.server.nudged()
	}
}

func (w *world) lose() {
	if w.server == nil {
		return
	}
	w.server, w.toServer, w.fromUp = nil, nil, nil
	w.ledger.disconnect()
}

func (w *world) find() {
	if w.server != nil {
		return
	}
	w.server = newModelServer(w)
	w.gen++
	w.obey(w.ledger.connect(w.gen))
}

// startEnvoy begins a new Envoy stream: of an Envoy that holds nothing, or of
// the same one after a broken connection.
func (w *world) startEnvoy(fresh bool) {
	w.lose()
	if w.ledger != nil {
		w.ledger.close()
	}
	if fresh || w.envoy == nil {
		w.envoy = newModelEnvoy(w)
	}
	w.toLedger, w.toEnvoy = nil, nil
	w.ledger = newLedger(w.cache, time.Now)
	w.envoy.connect()
}

func (w *world) obey(o orders) {
	toServer, toEnvoy := books{w.ledger, w.t}.decode(o)
	w.toServer = append(w.toServer, toServer...)
	w.toEnvoy = append(w.toEnvoy, toEnvoy...)
}

// deliver takes the first message of one of the queues to its receiver, and
// tells whether there was one.
func (w *world) deliver() bool {
	for _, i := range w.rnd.Perm(5) {
		switch {
		case i == 0 && len(w.toLedger) > 0:
			r := pop(&w.toLedger)
			message, parsed := books{w.ledger, w.t}.parse(r)
			w.obey(w.ledger.request(message, parsed))
		case i == 1 && len(w.toEnvoy) > 0:
			w.envoy.receive(pop(&w.toEnvoy))
		case i == 2 && len(w.toServer) > 0:
			w.server.receive(pop(&w.toServer))
		case i == 3 && len(w.fromUp) > 0:
			w.toEnvoy = append(w.toEnvoy, books{w.ledger, w.t}.answers(pop(&w.fromUp)))
		case i == 4 && w.server != nil && w.server.send():
		default:
			continue
		}
		return true
	}
	return false
}

func pop[T any](queue *[]T) T {
	first := (*queue)[0]
	*queue = (*queue)[1:]
	return first
}

// calm lets everything arrive that is under way, at a server that stays.
func (w *world) calm() {
	w.strict = true
	w.find()
	for range 3 {
		for w.deliver() {
		}
		// A server repeats what was rejected at the next event.
		w.resources[clusterType]["calm"], w.resources[endpointType]["calm"] = w.version(), w.version()
		w.server.nudged()
	}
	for w.deliver() {
	}
}

func (w *world) compare() {
	w.t.Helper()
	if !maps.Equal(w.envoy.held[clusterType], w.resources[clusterType]) {
		w.t.Errorf("clusters: envoy %v, server %v", w.envoy.held[clusterType], w.resources[clusterType])
	}
	if !maps.Equal(w.envoy.held[endpointType], w.resources[endpointType]) {
		w.t.Errorf("endpoints: envoy %v, server %v", w.envoy.held[endpointType], w.resources[endpointType])
	}
	if len(w.envoy.warming) > 0 {
		w.t.Errorf("clusters that wait for their endpoints: %v", slices.Sorted(maps.Keys(w.envoy.warming)))
	}
	if w.cache == nil {
		return
	}
	for _, typeURL := range []string{clusterType, endpointType} {
		cached := make(map[string]string)
		for name, r := range w.cache.of(typeURL) {
			cached[name] = r.version
		}
		if !maps.Equal(cached, w.resources[typeURL]) {
			w.t.Errorf("%s: cache %v, server %v", shortType(typeURL), cached, w.resources[typeURL])
		}
	}
}

// modelServer is a delta stream at a Consul server, with the peculiarities that
// were measured: see the comments.
type modelServer struct {
	w     *world
	types map[string]*serverType
	nonce int
}

type serverType struct {
	wildcard bool
	names    map[string]bool
	known    map[string]string // what the client has, as far as it has said
	pending  *deltaResponse
	due      bool // something may have changed since the last message
	first    bool // nothing has been sent yet
}

func newModelServer(w *world) *modelServer {
	return &modelServer{w: w, types: make(map[string]*serverType)}
}

func (s *modelServer) nudged() {
	for _, st := range s.types {
		st.due = true
	}
}

func (s *modelServer) receive(r *deltaRequest) {
	st := s.types[r.GetTypeUrl()]
	if st == nil {
		st = &serverType{
			wildcard: len(r.GetResourceNamesSubscribe()) == 0, first: true,
			names: make(map[string]bool), known: make(map[string]string),
		}
		s.types[r.GetTypeUrl()] = st
		for name, version := range r.GetInitialResourceVersions() {
			st.known[name], st.names[name] = version, true // names of the versions count as subscribed
		}
	}
	rejected := r.GetErrorDetail() != nil
	if p := st.pending; p != nil && p.GetNonce() == r.GetResponseNonce() {
		st.pending = nil
		if !rejected {
			for _, res := range p.GetResources() {
				st.known[res.GetName()] = res.GetVersion()
				if endpoints := s.types[endpointType]; r.GetTypeUrl() == clusterType && endpoints != nil {
					delete(endpoints.known, res.GetName()) // a cluster drags its endpoints along
				}
			}
			for _, name := range p.GetRemovedResources() {
				delete(st.known, name)
			}
		}
	}
	if !rejected { // the subscriptions of a rejection are lost
		for _, name := range r.GetResourceNamesSubscribe() {
			st.names[name] = true
			delete(st.known, name) // an explicit name is sent again
		}
		for _, name := range r.GetResourceNamesUnsubscribe() {
			delete(st.names, name)
			delete(st.known, name)
		}
	}
	s.nudged() // any request makes it look again, at all types
}

// send sends one message that is due, if there is one.
func (s *modelServer) send() bool {
	for _, typeURL := range []string{clusterType, endpointType} {
		st := s.types[typeURL]
		if st == nil || !st.due || st.pending != nil {
			continue
		}
		st.due = false
		if r := s.diff(typeURL, st); r != nil {
			s.nonce++
			r.Nonce = fmt.Sprintf("%08x", s.nonce)
			st.pending, st.first = r, false
			s.w.fromUp = append(s.w.fromUp, proto.CloneOf(r))
			return true
		}
	}
	return false
}

func (s *modelServer) diff(typeURL string, st *serverType) *deltaResponse {
	r := &deltaResponse{TypeUrl: typeURL}
	for name, version := range s.w.resources[typeURL] {
		if (st.wildcard || st.names[name]) && st.known[name] != version {
			r.Resources = append(r.Resources, resourceOf(name, version, name))
		}
	}
	for name := range st.known {
		if _, exists := s.w.resources[typeURL][name]; !exists && st.wildcard {
			r.RemovedResources = append(r.RemovedResources, name)
		}
	}
	if len(r.Resources)+len(r.RemovedResources) == 0 && (!st.first || !st.wildcard) {
		return nil
	}
	return r
}

// modelEnvoy is Envoy's side.
type modelEnvoy struct {
	w       *world
	held    map[string]map[string]string
	wanted  map[string]bool // endpoints subscribed to
	warming map[string]bool // clusters that wait for endpoints
	asked   bool            // the first request for endpoints was sent on this stream
}

func newModelEnvoy(w *world) *modelEnvoy {
	return &modelEnvoy{
		w: w, wanted: make(map[string]bool), warming: make(map[string]bool),
		held: map[string]map[string]string{clusterType: {}, endpointType: {}},
	}
}

func (e *modelEnvoy) send(r *deltaRequest) { e.w.toLedger = append(e.w.toLedger, r) }

func (e *modelEnvoy) connect() {
	e.asked = false
	e.send(&deltaRequest{
		Node: testNode(), TypeUrl: clusterType, InitialResourceVersions: maps.Clone(e.held[clusterType]),
	})
	if len(e.wanted) > 0 {
		e.askForEndpoints(slices.Sorted(maps.Keys(e.wanted)), nil)
	}
}

func (e *modelEnvoy) askForEndpoints(subscribe, unsubscribe []string) {
	r := &deltaRequest{TypeUrl: endpointType, ResourceNamesSubscribe: subscribe, ResourceNamesUnsubscribe: unsubscribe}
	if !e.asked {
		// What warms is asked for as if it were not held.
		r.InitialResourceVersions = maps.Clone(e.held[endpointType])
		maps.DeleteFunc(r.InitialResourceVersions, func(name, _ string) bool { return e.warming[name] })
		e.asked = true
	}
	e.send(r)
}

func (e *modelEnvoy) receive(r *deltaResponse) {
	if !e.w.strict && e.w.rnd.IntN(10) == 0 {
		e.send(&deltaRequest{
			TypeUrl: r.GetTypeUrl(), ResponseNonce: r.GetNonce(), ErrorDetail: &rpcstatus.Status{Message: "by chance"},
		})
		return
	}
	held := e.held[r.GetTypeUrl()]
	var subscribe, unsubscribe []string
	for _, res := range r.GetResources() {
		name := res.GetName()
		if r.GetTypeUrl() == endpointType {
			if !e.wanted[name] {
				continue
			}
			delete(e.warming, name)
		} else {
			e.warming[name] = true
			if !e.wanted[name] {
				e.wanted[name] = true
				subscribe = append(subscribe, name)
			}
		}
		held[name] = res.GetVersion()
	}
	for _, name := range r.GetRemovedResources() {
		delete(held, name)
		if r.GetTypeUrl() == clusterType && e.wanted[name] {
			delete(e.wanted, name)
			delete(e.warming, name)
			delete(e.held[endpointType], name)
			unsubscribe = append(unsubscribe, name)
		}
	}
	e.send(&deltaRequest{TypeUrl: r.GetTypeUrl(), ResponseNonce: r.GetNonce()})
	if len(subscribe)+len(unsubscribe) > 0 {
		e.askForEndpoints(subscribe, unsubscribe)
	}
}
