// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"

	"podplane/integration/standin/stats"
)

// Drain strategies, as of Envoy's --drain-strategy.
const (
	DrainGradual   = "gradual"   // the chance of being told to leave grows over the drain time
	DrainImmediate = "immediate" // everybody is told at once
)

// defaultDrainTime is that of --drain-time-s.
// Source: https://www.envoyproxy.io/docs/envoy/latest/operations/cli
const defaultDrainTime = 600 * time.Second

// Config is what an Engine needs.
type Config struct {
	Logger        hclog.Logger  // nil: no log
	Stats         *stats.Store  // nil: a store of its own
	DrainTime     time.Duration // --drain-time-s; zero means 600 s, as in Envoy
	DrainStrategy string        // DrainGradual (also when empty) or DrainImmediate
	Concurrency   int           // worker threads that Envoy would have; shown, not enforced (goroutines do the work)
	// KeepIdleOnDrain leaves idle HTTP connections open when a graceful drain begins, as Envoy up to 1.37 does
	// (https://github.com/envoyproxy/envoy/issues/42305). Otherwise DrainImmediate closes them (HTTP/1) or tells them to go
	// (HTTP/2).
	KeepIdleOnDrain bool
	// OnChange, if set, is called after anything that Warming, EDSNames or RDSNames report may have changed. It is called
	// without locks held and must not block.
	OnChange func()
}

// Engine carries traffic. Its methods are safe for concurrent use.
type Engine struct {
	cfg       Config
	log       hclog.Logger
	stats     *stats.Store
	life      *life
	sinks     *logSinks
	clusters  *clusterSet
	listeners *listenerSet
	routes    *routeStore
	drain     *drainer
	nextID    atomic.Uint64

	mu      sync.RWMutex
	secrets map[string]*tlsv3.Secret
}

// New makes an Engine with nothing in it. The caller owns it and must Close it.
func New(cfg Config) *Engine {
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	if cfg.Stats == nil {
		cfg.Stats, _ = stats.New(nil) // nothing to refuse
	}
	if cfg.DrainTime == 0 {
		cfg.DrainTime = defaultDrainTime
	}
	if cfg.DrainStrategy == "" {
		cfg.DrainStrategy = DrainGradual
	}
	if cfg.OnChange == nil {
		cfg.OnChange = func() {}
	}
	e := &Engine{
		cfg: cfg, log: cfg.Logger, stats: cfg.Stats, life: newLife(), sinks: &logSinks{}, secrets: map[string]*tlsv3.Secret{},
		routes: &routeStore{entries: map[string]*atomic.Pointer[routeTable]{}},
		drain:  &drainer{time: cfg.DrainTime, strategy: cfg.DrainStrategy},
	}
	e.clusters = &clusterSet{
		life: e.life, log: e.log, stats: e.stats, secret: e.secret, changed: e.changed,
		active: map[string]*cluster{}, warming: map[string]*cluster{},
		assignments: map[string]*endpointv3.ClusterLoadAssignment{}, leaving: map[*host]struct{}{},
	}
	e.listeners = &listenerSet{
		engine: e, active: map[string]*listener{}, warming: map[string]*listener{}, draining: map[*filterChain]*time.Timer{},
	}
	return e
}

func (e *Engine) changed() { e.cfg.OnChange() }

// UpdateCluster adds or replaces a cluster. An EDS cluster warms until its endpoints arrive, a DNS cluster until its
// first resolution; a predecessor serves until then.
func (e *Engine) UpdateCluster(c *clusterv3.Cluster) error { return e.clusters.update(c) }

// RemoveCluster removes a cluster; unknown names are ignored. Requests under way finish.
func (e *Engine) RemoveCluster(name string) { e.clusters.remove(name) }

// UpdateEndpoints sets the endpoints of every EDS cluster whose service name is that of the assignment.
func (e *Engine) UpdateEndpoints(a *endpointv3.ClusterLoadAssignment) error {
	return e.clusters.updateEndpoints(a)
}

// RemoveEndpoints forgets an assignment. Clusters keep the endpoints they have, as in Envoy.
func (e *Engine) RemoveEndpoints(name string) { e.clusters.removeEndpoints(name) }

// UpdateListener adds or replaces a listener. Its address is bound at once, and listened on when the workers run and its
// routes are there.
func (e *Engine) UpdateListener(l *listenerv3.Listener) error { return e.listeners.update(l) }

// RemoveListener stops accepting at once and drains what is left of the listener over the drain time.
func (e *Engine) RemoveListener(name string) { e.listeners.remove(name) }

// UpdateRoutes sets a route configuration. Requests see it from their next lookup on.
func (e *Engine) UpdateRoutes(r *routev3.RouteConfiguration) error {
	err := check(r)
	var table *routeTable
	if err == nil {
		table, err = newRouteTable(proto.CloneOf(r))
	}
	if err != nil {
		return fmt.Errorf("route configuration %s: %w", r.GetName(), err)
	}
	e.routes.entry(r.GetName()).Store(table)
	e.listeners.routesArrived()
	return nil
}

// RemoveRoutes forgets a route configuration that no listener wants; Envoy ignores the removal of one in use.
func (e *Engine) RemoveRoutes(name string) {
	wanted := e.listeners.rdsNames()
	if slices.Contains(wanted, name) {
		return
	}
	e.routes.keep(wanted)
}

// AddSecret adds or replaces a static secret (bootstrap's static_resources.secrets), to which TLS contexts refer by name.
// Contexts that were built before keep what they have.
func (e *Engine) AddSecret(s *tlsv3.Secret) error {
	if err := check(s); err != nil {
		return fmt.Errorf("secret %s: %w", s.GetName(), err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.secrets[s.GetName()] = proto.CloneOf(s)
	return nil
}

func (e *Engine) secret(name string) *tlsv3.Secret {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.secrets[name]
}

// EDSNames are the assignments that the accepted clusters want, sorted.
func (e *Engine) EDSNames() []string { return e.clusters.edsNames() }

// RDSNames are the route configurations that the accepted listeners want, sorted.
func (e *Engine) RDSNames() []string { return e.listeners.rdsNames() }

// Warming names the clusters and listeners that are accepted but still wait for something, sorted.
func (e *Engine) Warming() (clusters, listeners []string) {
	return e.clusters.warmingNames(), e.listeners.warmingNames()
}

// Close ends every listener, connection and timer, and returns when all goroutines have ended or ctx is done.
func (e *Engine) Close(ctx context.Context) error {
	e.life.end()
	e.drain.close()
	e.listeners.close()
	e.clusters.close()
	err := e.life.wait(ctx)
	return errors.Join(err, e.sinks.close())
}

func compareStrings(a, b string) int { return strings.Compare(a, b) }
