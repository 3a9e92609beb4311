// SPDX-License-Identifier: MPL-2.0

package server

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"podplane/integration/standin/stats"
)

// listenerTarget is the part of the data path that takes listeners.
type listenerTarget interface {
	UpdateListener(l *listenerv3.Listener) error
	RemoveListener(name string)
}

// listeners applies LDS.
type listeners struct {
	discovery
	target    listenerTarget
	inventory *inventory
	manager   *stats.Scope // listener_manager.
	settle    func()       // forgets routes that nobody wants any more
}

// Names is empty: listeners are a wildcard.
func (h *listeners) Names() []string { return nil }

// Apply removes first, so that a new listener can take an old one's address.
func (h *listeners) Apply(added []*discoveryv3.Resource, removed []string) error {
	list, err := decode(added, func() *listenerv3.Listener { return &listenerv3.Listener{} })
	if err != nil {
		return h.done(err)
	}
	for _, name := range removed {
		if h.inventory.remove(name) {
			h.target.RemoveListener(name)
			h.manager.Counter("listener_removed").Inc()
			h.logger.Info("lds: remove listener", "listener", name)
		}
	}
	var problems strings.Builder
	for _, l := range list {
		if err := h.put(l); err != nil {
			fmt.Fprintf(&problems, "%s: %s\n", l.body.GetName(), err)
		}
	}
	h.settle()
	if problems.Len() > 0 {
		return h.done(errors.New("Error adding/updating listener(s) " + problems.String()))
	}
	return h.done(nil)
}

func (h *listeners) put(l decoded[*listenerv3.Listener]) error {
	name := l.body.GetName()
	if name == "" {
		// Envoy would make up a UUID; Consul names every listener.
		name = l.name
	}
	if h.inventory.settled(name, l.body) {
		h.inventory.touch(name, l.version)
		h.logger.Debug("lds: listener skipped", "listener", name)
		return nil
	}
	if err := h.target.UpdateListener(l.body); err != nil {
		h.manager.Counter("listener_create_failure").Inc()
		return err
	}
	counter := "listener_added"
	if h.inventory.has(name) {
		counter = "listener_modified"
	}
	h.manager.Counter(counter).Inc()
	h.manager.Counter("listener_create_success").Inc()
	h.inventory.put(item{name: name, version: l.version, body: l.body})
	h.logger.Info("lds: add/update listener", "listener", name)
	return nil
}

// routeTarget is the part of the data path that takes routes.
type routeTarget interface {
	UpdateRoutes(r *routev3.RouteConfiguration) error
	RemoveRoutes(name string)
	RDSNames() []string
}

// routes applies RDS.
type routes struct {
	discovery
	target    routeTarget
	inventory *inventory
}

// Names are the route configurations that the listeners want.
func (h *routes) Names() []string { return h.target.RDSNames() }

// Apply takes route configurations. Envoy ignores a server that removes one.
func (h *routes) Apply(added []*discoveryv3.Resource, _ []string) error {
	list, err := decode(added, func() *routev3.RouteConfiguration { return &routev3.RouteConfiguration{} })
	if err != nil {
		return h.done(err)
	}
	wanted := h.target.RDSNames()
	for _, r := range list {
		if !slices.Contains(wanted, r.name) {
			continue // nobody watches it
		}
		if got := r.body.GetName(); got != r.name {
			return h.done(fmt.Errorf("Unexpected RDS configuration (expecting %s): %s", r.name, got)) //nolint:staticcheck // Envoy's own words
		}
		if err := h.target.UpdateRoutes(r.body); err != nil {
			return h.done(fmt.Errorf("%s: %w", r.name, err))
		}
		h.inventory.put(item{name: r.name, version: r.version, body: r.body})
	}
	return h.done(nil)
}

// settle forgets route configurations that no listener wants.
func (h *routes) settle() {
	wanted := h.target.RDSNames()
	for _, have := range h.inventory.list() {
		if !slices.Contains(wanted, have.name) && h.inventory.remove(have.name) {
			h.target.RemoveRoutes(have.name)
		}
	}
}
