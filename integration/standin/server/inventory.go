// SPDX-License-Identifier: MPL-2.0

package server

import (
	"sort"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// item is one resource in force.
type item struct {
	name    string
	version string
	static  bool // from the bootstrap; the control plane cannot change it
	body    proto.Message
	updated time.Time
}

func (i item) lastUpdated() *timestamppb.Timestamp { return timestamppb.New(i.updated) }

// inventory remembers what was applied, for /config_dump and to leave unchanged
// resources alone. It is safe for concurrent use.
type inventory struct {
	mu    sync.Mutex
	items map[string]item
}

func newInventory() *inventory { return &inventory{items: map[string]item{}} }

// settled tells whether applying body would do nothing: it is what is in force
// already, or a static resource has the name. Envoy skips both in silence.
func (v *inventory) settled(name string, body proto.Message) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	have, ok := v.items[name]
	return ok && (have.static || proto.Equal(have.body, body))
}

// touch records the version of a resource that was sent again unchanged.
func (v *inventory) touch(name, version string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if have, ok := v.items[name]; ok && !have.static {
		have.version = version
		v.items[name] = have
	}
}

func (v *inventory) put(i item) {
	v.mu.Lock()
	defer v.mu.Unlock()
	i.updated = time.Now()
	v.items[i.name] = i
}

// remove forgets a dynamic resource and tells whether there was one.
func (v *inventory) remove(name string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	have, ok := v.items[name]
	if !ok || have.static {
		return false
	}
	delete(v.items, name)
	return true
}

// has tells whether the name is taken.
func (v *inventory) has(name string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, ok := v.items[name]
	return ok
}

// viaAPI tells whether the control plane brought the resource.
func (v *inventory) viaAPI(name string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	have, ok := v.items[name]
	return ok && !have.static
}

// list gives every item, by name.
func (v *inventory) list() []item {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := make([]item, 0, len(v.items))
	for _, i := range v.items {
		out = append(out, i)
	}
	sort.Slice(out, func(a, b int) bool { return out[a].name < out[b].name })
	return out
}
