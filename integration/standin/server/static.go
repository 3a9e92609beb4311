// SPDX-License-Identifier: MPL-2.0

package server

import (
	"context"
	"fmt"
	"strings"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"

	"podplane/integration/standin/bootstrap"
	"podplane/integration/standin/cli"
	"podplane/integration/standin/server/spdlog"
	"podplane/integration/standin/stats"
	"podplane/integration/standin/traffic"
)

// loader takes a bootstrap's static resources one by one.
type loader struct {
	logger   hclog.Logger
	secret   func(*tlsv3.Secret) error
	cluster  func(*clusterv3.Cluster) error
	listener func(*listenerv3.Listener) error
}

// loadStatic applies the static resources in Envoy's order: secrets, clusters,
// listeners. The first that is refused ends it.
func loadStatic(r *bootstrapv3.Bootstrap_StaticResources, l loader) error {
	l.logger.Info("loading static secrets", "count", len(r.GetSecrets()))
	for _, secret := range r.GetSecrets() {
		if err := l.secret(secret); err != nil {
			return fmt.Errorf("secret %s: %w", secret.GetName(), err)
		}
	}
	l.logger.Info("loading clusters", "count", len(r.GetClusters()))
	for _, cluster := range r.GetClusters() {
		if err := l.cluster(cluster); err != nil {
			return fmt.Errorf("cluster %s: %w", cluster.GetName(), err)
		}
	}
	l.logger.Info("loading listeners", "count", len(r.GetListeners()))
	for _, listener := range r.GetListeners() {
		if err := l.listener(listener); err != nil {
			return fmt.Errorf("listener %s: %w", listener.GetName(), err)
		}
	}
	return nil
}

// loader applies static resources to this server and remembers them.
func (s *Server) loader() loader {
	return loader{
		logger: s.cfg.Logs.Logger("config"),
		secret: func(secret *tlsv3.Secret) error {
			s.secrets.put(item{name: secret.GetName(), static: true, body: secret})
			return s.engine.AddSecret(secret)
		},
		cluster: func(cluster *clusterv3.Cluster) error {
			if s.clusters.has(cluster.GetName()) {
				return fmt.Errorf("cluster manager: duplicate cluster '%s'", cluster.GetName())
			}
			s.clusters.put(item{name: cluster.GetName(), static: true, body: cluster})
			return s.engine.UpdateCluster(cluster)
		},
		listener: func(listener *listenerv3.Listener) error {
			if s.listeners.has(listener.GetName()) {
				return fmt.Errorf("duplicate listener %s", listener.GetName())
			}
			s.listeners.put(item{name: listener.GetName(), static: true, body: listener})
			return s.engine.UpdateListener(listener)
		},
	}
}

// Validate does what --mode validate does: everything that start-up checks, but
// no port of the configuration is taken and nobody is asked for anything.
func Validate(ctx context.Context, b *bootstrapv3.Bootstrap, o cli.Options, logs *spdlog.Logs) error {
	store, err := stats.New(b.GetStatsConfig())
	if err != nil {
		return err
	}
	engine := traffic.New(traffic.Config{Logger: logs.Logger("connection"), Stats: store})
	defer closeEngine(ctx, engine, logs.Logger("main"))
	err = loadStatic(b.GetStaticResources(), loader{
		logger: logs.Logger("config"), secret: engine.AddSecret, cluster: engine.UpdateCluster,
		listener: func(l *listenerv3.Listener) error { return engine.UpdateListener(elsewhere(l)) },
	})
	if err != nil {
		return err
	}
	_, err = dynamicSources(b, node(b, o))
	return err
}

// elsewhere moves a listener to a free loopback port.
func elsewhere(l *listenerv3.Listener) *listenerv3.Listener {
	moved, ok := proto.Clone(l).(*listenerv3.Listener)
	if !ok || l.GetAddress().GetSocketAddress() == nil {
		return l
	}
	moved.Address = &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: "127.0.0.1", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 0},
	}}}
	moved.AdditionalAddresses = nil
	return moved
}

// warnAboutIgnored names what a bootstrap may hold, Envoy would act on, and the
// stand-in only checks.
func (s *Server) warnAboutIgnored() {
	b := s.cfg.Bootstrap
	var ignored []string
	for _, sink := range b.GetStatsSinks() {
		ignored = append(ignored, "stats_sinks "+sink.GetName())
	}
	for name, set := range map[string]bool{
		"tracing":          b.GetTracing() != nil, //nolint:staticcheck // deprecated, and still read by Envoy
		"overload_manager": b.GetOverloadManager() != nil,
		"hds_config":       b.GetHdsConfig() != nil, "watchdogs": b.GetWatchdogs() != nil,
	} {
		if set {
			ignored = append(ignored, name)
		}
	}
	if len(ignored) > 0 {
		s.logger.Warn("the stand-in checks these parts of the bootstrap and does not act on them",
			"parts", strings.Join(ignored, ", "))
	}
}

// Load reads the bootstrap that the command line names.
func Load(o cli.Options) (*bootstrapv3.Bootstrap, error) {
	return bootstrap.Load(bootstrap.Source{Path: o.ConfigPath, YAML: o.ConfigYAML, AllowUnknown: o.AllowUnknownStaticFields})
}
