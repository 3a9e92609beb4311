// SPDX-License-Identifier: MPL-2.0

package server

import (
	"errors"
	"slices"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"podplane/integration/standin/ads/adstest"
	"podplane/integration/standin/stats"
)

// fakeTraffic records what is applied and refuses names that start with "bad".
type fakeTraffic struct {
	calls    []string
	eds, rds []string
}

func (f *fakeTraffic) note(verb, name string) error {
	f.calls = append(f.calls, verb+" "+name)
	if strings.HasPrefix(name, "bad") {
		return errors.New("unknown filter x")
	}
	return nil
}

func (f *fakeTraffic) UpdateCluster(c *clusterv3.Cluster) error {
	return f.note("cluster", c.GetName())
}
func (f *fakeTraffic) RemoveCluster(name string) { _ = f.note("-cluster", name) }
func (f *fakeTraffic) UpdateEndpoints(a *endpointv3.ClusterLoadAssignment) error {
	return f.note("endpoints", a.GetClusterName())
}
func (f *fakeTraffic) RemoveEndpoints(name string) { _ = f.note("-endpoints", name) }
func (f *fakeTraffic) EDSNames() []string          { return f.eds }
func (f *fakeTraffic) UpdateListener(l *listenerv3.Listener) error {
	return f.note("listener", l.GetName())
}
func (f *fakeTraffic) RemoveListener(name string) { _ = f.note("-listener", name) }
func (f *fakeTraffic) UpdateRoutes(r *routev3.RouteConfiguration) error {
	return f.note("routes", r.GetName())
}
func (f *fakeTraffic) RemoveRoutes(name string) { _ = f.note("-routes", name) }
func (f *fakeTraffic) RDSNames() []string       { return f.rds }

// handlersRig has a handler of each type over one fake.
type handlersRig struct {
	*fakeTraffic
	store *stats.Store
	cds   *clusters
	eds   *endpoints
	lds   *listeners
	rds   *routes
}

func newHandlersRig(t *testing.T) *handlersRig {
	t.Helper()
	store, err := stats.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	r := &handlersRig{fakeTraffic: &fakeTraffic{}, store: store}
	shared := func(prefix string) discovery {
		scope := store.Scope(prefix)
		return discovery{logger: hclog.NewNullLogger(), arrived: func() {}, count: func(name string) { scope.Counter(name).Inc() }}
	}
	r.eds = &endpoints{discovery: shared("eds."), target: r.fakeTraffic, inventory: newInventory(), clusters: newScopes(store, "cluster.")}
	r.rds = &routes{discovery: shared("rds."), target: r.fakeTraffic, inventory: newInventory()}
	r.cds = &clusters{
		discovery: shared("cluster_manager.cds."), target: r.fakeTraffic, inventory: newInventory(),
		manager: store.Scope("cluster_manager."), settle: r.eds.settle,
	}
	r.lds = &listeners{
		discovery: shared("listener_manager.lds."), target: r.fakeTraffic, inventory: newInventory(),
		manager: store.Scope("listener_manager."), settle: r.rds.settle,
	}
	return r
}

// expect checks and forgets the calls so far.
func (r *handlersRig) expect(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(r.calls, want) {
		t.Errorf("calls = %q, want %q", r.calls, want)
	}
	r.calls = nil
}

func (r *handlersRig) stat(t *testing.T, name string, want int64) {
	t.Helper()
	if got, _ := r.store.Value(name); got != want {
		t.Errorf("%s = %d, want %d", name, got, want)
	}
}

func wrap(t *testing.T, name string, bodies ...proto.Message) []*discoveryv3.Resource {
	t.Helper()
	var out []*discoveryv3.Resource
	for _, b := range bodies {
		out = append(out, adstest.Resource(t, name, "1", b))
	}
	return out
}

func TestClusters(t *testing.T) {
	t.Parallel()
	r := newHandlersRig(t)
	r.cds.inventory.put(item{name: "fixed", static: true, body: &clusterv3.Cluster{Name: "fixed"}})
	api := wrap(t, "api", &clusterv3.Cluster{Name: "api"})
	if err := r.cds.Apply(api, nil); err != nil {
		t.Fatal(err)
	}
	r.expect(t, "cluster api")
	// The same again, and a static one, are left alone in silence.
	again := append(api, wrap(t, "fixed", &clusterv3.Cluster{Name: "fixed", AltStatName: "x"})...)
	if err := r.cds.Apply(again, []string{"fixed", "stranger"}); err != nil {
		t.Fatal(err)
	}
	r.expect(t)
	// The good ones of a refused response stay.
	mixed := append(wrap(t, "bad", &clusterv3.Cluster{Name: "bad"}), wrap(t, "api", &clusterv3.Cluster{Name: "api", AltStatName: "y"})...)
	err := r.cds.Apply(mixed, nil)
	if err == nil || err.Error() != "Error adding/updating cluster(s) bad: unknown filter x" {
		t.Errorf("error = %v", err)
	}
	r.expect(t, "cluster bad", "cluster api")
	if r.cds.inventory.has("bad") || !r.cds.inventory.viaAPI("api") || r.cds.inventory.viaAPI("fixed") {
		t.Errorf("inventory = %v", r.cds.inventory.list())
	}
	if err := r.cds.Apply(nil, []string{"api"}); err != nil {
		t.Fatal(err)
	}
	r.expect(t, "-cluster api")
	r.cds.Lost()
	for name, want := range map[string]int64{
		"cluster_manager.cds.update_success": 3, "cluster_manager.cds.update_rejected": 1, "cluster_manager.cds.update_failure": 1,
		"cluster_manager.cluster_added": 1, "cluster_manager.cluster_modified": 1, "cluster_manager.cluster_removed": 1,
	} {
		r.stat(t, name, want)
	}
}

func TestMalformedResourceRefusesAll(t *testing.T) {
	t.Parallel()
	r := newHandlersRig(t)
	invalid := &clusterv3.Cluster{Name: "worse", ConnectTimeout: durationpb.New(-1)}
	err := r.cds.Apply(append(wrap(t, "fine", &clusterv3.Cluster{Name: "fine"}), wrap(t, "worse", invalid)...), nil)
	if err == nil || !strings.Contains(err.Error(), "worse: Proto constraint validation failed (invalid Cluster.ConnectTimeout") {
		t.Errorf("error = %v", err)
	}
	wrong := wrap(t, "odd", &listenerv3.Listener{})
	for name, apply := range map[string]func([]*discoveryv3.Resource, []string) error{
		"clusters": r.cds.Apply, "endpoints": r.eds.Apply, "routes": r.rds.Apply,
	} {
		if err := apply(wrong, nil); err == nil || !strings.Contains(err.Error(), "odd: unable to unpack as envoy.config.") {
			t.Errorf("%s: error = %v", name, err)
		}
	}
	if err := r.lds.Apply(wrap(t, "odd", &clusterv3.Cluster{}), nil); err == nil {
		t.Error("a cluster was taken for a listener")
	}
	r.expect(t)
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	r := newHandlersRig(t)
	r.eds.target.(*fakeTraffic).eds = []string{"api", "badone"}
	if got := r.eds.Names(); !slices.Equal(got, []string{"api", "badone"}) {
		t.Errorf("Names = %v", got)
	}
	both := append(wrap(t, "api", &endpointv3.ClusterLoadAssignment{ClusterName: "api"}), wrap(t, "stranger", &endpointv3.ClusterLoadAssignment{ClusterName: "stranger"})...)
	// What nobody watches is dropped, and a removal by the server changes nothing.
	if err := r.eds.Apply(both, []string{"api"}); err != nil {
		t.Fatal(err)
	}
	r.expect(t, "endpoints api")
	r.stat(t, "cluster.api.update_success", 1)
	if err := r.eds.Apply(wrap(t, "api", &endpointv3.ClusterLoadAssignment{ClusterName: "other"}), nil); err == nil || err.Error() != "Unexpected EDS cluster (expecting api): other" {
		t.Errorf("error = %v", err)
	}
	if err := r.eds.Apply(wrap(t, "badone", &endpointv3.ClusterLoadAssignment{ClusterName: "badone"}), nil); err == nil || err.Error() != "badone: unknown filter x" {
		t.Errorf("error = %v", err)
	}
	r.expect(t, "endpoints badone")
	r.fakeTraffic.eds = nil
	r.eds.settle()
	r.expect(t, "-endpoints api")
	if _, ok := r.store.Value("cluster.api.update_success"); ok {
		t.Error("the statistics of a forgotten assignment stay")
	}
}

func TestListenersAndRoutes(t *testing.T) {
	t.Parallel()
	r := newHandlersRig(t)
	first := wrap(t, "in", &listenerv3.Listener{Name: "in"})
	if err := r.lds.Apply(first, nil); err != nil {
		t.Fatal(err)
	}
	r.expect(t, "listener in")
	// Removal comes first; an unchanged listener is left alone.
	next := append(first, wrap(t, "out", &listenerv3.Listener{Name: "out"})...)
	if err := r.lds.Apply(next, []string{"in", "stranger"}); err != nil {
		t.Fatal(err)
	}
	r.expect(t, "-listener in", "listener in", "listener out")
	if err := r.lds.Apply(next, nil); err != nil {
		t.Fatal(err)
	}
	r.expect(t)
	err := r.lds.Apply(append(wrap(t, "bad", &listenerv3.Listener{Name: "bad"}), wrap(t, "out", &listenerv3.Listener{Name: "out", StatPrefix: "p"})...), nil)
	if err == nil || err.Error() != "Error adding/updating listener(s) bad: unknown filter x\n" {
		t.Errorf("error = %v", err)
	}
	r.expect(t, "listener bad", "listener out")
	for name, want := range map[string]int64{
		"listener_manager.listener_added": 3, "listener_manager.listener_modified": 1, "listener_manager.listener_removed": 1,
		"listener_manager.listener_create_failure": 1, "listener_manager.lds.update_rejected": 1,
	} {
		r.stat(t, name, want)
	}

	r.fakeTraffic.rds = []string{"web", "badone"}
	mixed := append(wrap(t, "web", &routev3.RouteConfiguration{Name: "web"}), wrap(t, "stranger", &routev3.RouteConfiguration{})...)
	if err := r.rds.Apply(mixed, []string{"web"}); err != nil {
		t.Fatal(err)
	}
	r.expect(t, "routes web")
	if err := r.rds.Apply(wrap(t, "web", &routev3.RouteConfiguration{Name: "api"}), nil); err == nil || err.Error() != "Unexpected RDS configuration (expecting web): api" {
		t.Errorf("error = %v", err)
	}
	if err := r.rds.Apply(wrap(t, "badone", &routev3.RouteConfiguration{Name: "badone"}), nil); err == nil {
		t.Error("a refused route configuration was accepted")
	}
	r.calls = nil
	r.fakeTraffic.rds = nil
	r.rds.settle()
	r.expect(t, "-routes web")
	if r.cds.Names() != nil || r.lds.Names() != nil || r.rds.Names() != nil {
		t.Error("wildcards have no names")
	}
}
