// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"errors"
	"sync/atomic"
	"time"

	limitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/connection_limit/v3"
	netrbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"

	"podplane/integration/standin/stats"
)

// networkFilter is a filter in front of the one that ends a chain.
type networkFilter interface {
	// open is called when a connection is made. It may add gates to conn, and returns what to do when the connection
	// ends. An error closes the connection.
	open(d *downstream, conn *meteredConn) (done func(), err error)
	close()
}

// errDenied is a connection that a filter refused.
var errDenied = errors.New("denied by filter")

// netRBAC is envoy.filters.network.rbac. It judges when the first data arrives, as Envoy does, so that a server that
// speaks first is heard before.
type netRBAC struct {
	rules, shadow *rbacEngine
	scope         *stats.Scope
	shadowPrefix  string
}

func newNetRBAC(c *netrbacv3.RBAC, store *stats.Store) (*netRBAC, error) {
	rules, err := newRBAC(c.GetRules())
	if err != nil {
		return nil, err
	}
	shadow, err := newRBAC(c.GetShadowRules())
	if err != nil {
		return nil, err
	}
	f := &netRBAC{rules: rules, shadow: shadow, shadowPrefix: c.GetShadowRulesStatPrefix()}
	f.scope = store.Scope(c.GetStatPrefix() + ".rbac.")
	declareRBAC(f.scope, "", f.shadowPrefix)
	return f, nil
}

func declareRBAC(scope *stats.Scope, prefix, shadowPrefix string) {
	for _, name := range []string{prefix + "allowed", prefix + "denied", shadowPrefix + "shadow_allowed", shadowPrefix + "shadow_denied"} {
		scope.Counter(name)
	}
}

func (f *netRBAC) open(d *downstream, conn *meteredConn) (func(), error) {
	conn.gates = append(conn.gates, func() error {
		s := &subject{conn: d}
		if f.shadow != nil {
			ok, _ := f.shadow.allows(s)
			f.scope.Counter(f.shadowPrefix + verdict(ok, "shadow_")).Inc()
		}
		if f.rules == nil {
			return nil
		}
		ok, policy := f.rules.allows(s)
		f.scope.Counter(verdict(ok, "")).Inc()
		if ok {
			return nil
		}
		d.details = "rbac_access_denied_matched_policy[" + policy + "]"
		return errDenied
	})
	return func() {}, nil
}

func (f *netRBAC) close() { f.scope.Close() }

func verdict(ok bool, prefix string) string {
	if ok {
		return prefix + "allowed"
	}
	return prefix + "denied"
}

// connectionLimit is envoy.filters.network.connection_limit.
type connectionLimit struct {
	limit  int64
	delay  time.Duration
	active atomic.Int64
	scope  *stats.Scope
}

func newConnectionLimit(c *limitv3.ConnectionLimit, store *stats.Store) *connectionLimit {
	f := &connectionLimit{limit: int64(c.GetMaxConnections().GetValue()), delay: duration(c.GetDelay(), 0)}
	f.scope = store.Scope("connection_limit." + c.GetStatPrefix() + ".")
	f.scope.Counter("limited_connections")
	f.scope.Gauge("active_connections")
	return f
}

func (f *connectionLimit) open(d *downstream, _ *meteredConn) (func(), error) {
	done := func() {
		f.active.Add(-1)
		f.scope.Gauge("active_connections").Dec()
	}
	f.scope.Gauge("active_connections").Inc()
	if f.active.Add(1) <= f.limit {
		return done, nil
	}
	done()
	f.scope.Counter("limited_connections").Inc()
	d.flags = "UO"
	if f.delay > 0 {
		select {
		case <-time.After(f.delay):
		case <-d.chain.shared.engine.life.Done():
		}
	}
	return nil, errDenied
}

func (f *connectionLimit) close() { f.scope.Close() }

// sniCluster is envoy.filters.network.sni_cluster: the server name chooses tcp_proxy's cluster.
type sniCluster struct{}

func (sniCluster) open(d *downstream, _ *meteredConn) (func(), error) {
	d.clusterOverride = d.sni
	return func() {}, nil
}

func (sniCluster) close() {}
