// SPDX-License-Identifier: MPL-2.0

package xdsproxy

import (
	"maps"
	"slices"
)

// cache is the last-known-good configuration: for each type the resources that
// Envoy has accepted, as the server encoded them. A new Envoy is served from it.
// It holds private keys and leaves the process only by a Store. Its owner locks.
// What is put belongs to it.
type cache struct {
	types map[string]map[string]resource // by type URL, then by name
	dirty bool                           // changed since the last snapshot
}

func newCache() *cache {
	return &cache{types: make(map[string]map[string]resource)}
}

// has tells whether Envoy has ever accepted an answer of the type. Until then
// there is nothing to serve: an empty answer would tell Envoy that it has
// everything, and it would go live with nothing.
func (c *cache) has(typeURL string) bool {
	_, ok := c.types[typeURL]
	return ok
}

// of gives the resources of a type, for reading; none if there was no answer.
func (c *cache) of(typeURL string) map[string]resource { return c.types[typeURL] }

// establish notes that Envoy has accepted an answer of the type.
func (c *cache) establish(typeURL string) {
	if !c.has(typeURL) {
		c.types[typeURL] = make(map[string]resource)
		c.dirty = true
	}
}

// names gives the names of a type in the cache, sorted so that answers from the
// cache are deterministic.
func (c *cache) names(typeURL string) []string {
	return slices.Sorted(maps.Keys(c.types[typeURL]))
}

// retain drops what a new Envoy would be given and the one that runs does not
// hold.
func (c *cache) retain(typeURL string, held map[string]string) {
	before := len(c.types[typeURL])
	maps.DeleteFunc(c.types[typeURL], func(name string, r resource) bool {
		_, ok := held[name]
		if !ok {
			r.free()
		}
		return !ok
	})
	c.dirty = c.dirty || len(c.types[typeURL]) != before
}

// put keeps a resource that Envoy has accepted.
func (c *cache) put(typeURL, name string, r resource) {
	c.establish(typeURL)
	held := c.types[typeURL]
	if held[name].version != r.version {
		c.dirty = true
	}
	held[name].free()
	held[name] = r
}

// take puts a resource that lies in a message.
func (c *cache) take(typeURL string, message *cursor, ref resourceRef) {
	r := message.resource(ref, c.types[typeURL][ref.name].small)
	if message.err == nil {
		c.put(typeURL, ref.name, r)
	}
}

func (c *cache) remove(typeURL string, names []string) {
	for _, name := range names {
		if r, ok := c.types[typeURL][name]; ok {
			r.free()
			delete(c.types[typeURL], name)
			c.dirty = true
		}
	}
}
