// SPDX-License-Identifier: MPL-2.0

package registrar

import (
	"cmp"
	"hash/maphash"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// place is where a service instance is in the catalog. IDs are unique on a node and in a namespace.
type place struct {
	node, namespace, id string
}

// folded is the place as Consul compares it, which does not tell upper case from lower in IDs: those of the form compat have
// users' names in them.
func (p place) folded() place {
	p.id = strings.ToLower(p.id)
	return p
}

// record is what is known of one of this cluster's instances in the catalog.
type record struct {
	place
	pod     types.NamespacedName
	uid     types.UID
	service string
	digest  digest // unwritten while a write is under way or its outcome is unknown
	status  string // of the readiness check; empty if it is missing or not as it is written here
}

// node is what is known of a catalog node.
type node struct {
	loaded  bool
	exists  bool
	ours    bool   // made by this cluster, so it may be removed when it is empty
	empty   bool   // nothing at all was on it when it was read
	address string // as it is in the catalog
	meta    map[string]string
	foreign map[place]stranger
}

// memory is the catalog as this process knows it: read once for each node, then kept by what is written. It is lost
// at the end of the process, and built again from the catalog.
type memory struct {
	mu    sync.Mutex
	nodes map[string]*node
	pods  map[types.NamespacedName]map[place]*record
	// records of a node.
	records map[string]map[place]*record
	// holders of places, which are folded.
	holders map[place]*record

	// A node is written to under its read lock, and loaded or removed under its write lock. The locks are shared by
	// nodes with the same hash, so that their number is bounded.
	seed  maphash.Seed
	locks [64]sync.RWMutex
}

func newMemory() *memory {
	return &memory{
		nodes:   map[string]*node{},
		pods:    map[types.NamespacedName]map[place]*record{},
		records: map[string]map[place]*record{},
		holders: map[place]*record{},
		seed:    maphash.MakeSeed(),
	}
}

// lock returns the lock of a node.
func (m *memory) lock(name string) *sync.RWMutex {
	return &m.locks[maphash.String(m.seed, name)%uint64(len(m.locks))]
}

// node returns a copy of what is known of a node.
func (m *memory) node(name string) node {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.nodes[name]; n != nil {
		return *n
	}
	return node{}
}

// wrote notes that a node of this cluster is in the catalog as it was written.
func (m *memory) wrote(name, address string, meta map[string]string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.nodes[name]; n != nil {
		n.exists, n.ours, n.empty, n.address, n.meta = true, true, false, address, meta
	}
}

// doubt has a node read again before it is next written to.
func (m *memory) doubt(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.nodes[name]; n != nil {
		n.loaded = false
	}
}

// replace takes over what the catalog says of a node, in place of all that was known.
func (m *memory) replace(name string, n node, records []record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for at, r := range m.records[name] {
		m.drop(r.pod, at)
	}
	n.loaded = true
	m.nodes[name] = &n
	for i := range records {
		m.add(&records[i])
	}
}

// prune forgets a node that is not in the catalog, so that the memory does not grow with the nodes that ever were. The
// caller holds the node's write lock.
func (m *memory) prune(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.nodes[name]; n != nil && !n.exists && len(m.records[name]) == 0 {
		delete(m.nodes, name)
	}
}

// of returns copies of a pod's records, in the order of their IDs.
func (m *memory) of(pod types.NamespacedName) []record {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]record, 0, len(m.pods[pod]))
	for _, r := range m.pods[pod] {
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b record) int {
		return cmp.Or(cmp.Compare(a.node, b.node), cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.id, b.id))
	})
	return out
}

// claim adds or replaces a record, unless another pod has its place: then it returns that pod.
func (m *memory) claim(r record) (holder types.NamespacedName, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if has := m.holders[r.folded()]; has != nil && has.pod != r.pod {
		return has.pod, false
	}
	m.drop(r.pod, r.place)
	m.add(&r)
	return r.pod, true
}

// put adds or replaces a record.
func (m *memory) put(r record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(r.pod, r.place)
	m.add(&r)
}

// forget removes records of a node, and says whether none is left there.
func (m *memory) forget(name string, records []record) (empty bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range records {
		m.drop(r.pod, r.place)
	}
	return len(m.records[name]) == 0
}

// size counts the records.
func (m *memory) size() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, records := range m.records {
		n += len(records)
	}
	return n
}

// known returns the nodes and the pods of which something is known.
func (m *memory) known() (nodes []string, pods []types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range m.nodes {
		nodes = append(nodes, name)
	}
	for pod := range m.pods {
		pods = append(pods, pod)
	}
	return nodes, pods
}

// add and drop are called with the lock held.
func (m *memory) add(r *record) {
	at(m.pods, r.pod)[r.place] = r
	at(m.records, r.node)[r.place] = r
	m.holders[r.folded()] = r
}

func (m *memory) drop(pod types.NamespacedName, p place) {
	delete(m.pods[pod], p)
	if len(m.pods[pod]) == 0 {
		delete(m.pods, pod)
	}
	if has := m.holders[p.folded()]; has != nil && has.place == p {
		delete(m.holders, p.folded())
	}
	delete(m.records[p.node], p)
	if len(m.records[p.node]) == 0 {
		delete(m.records, p.node)
	}
}

func at[K comparable](index map[K]map[place]*record, key K) map[place]*record {
	if index[key] == nil {
		index[key] = map[place]*record{}
	}
	return index[key]
}
