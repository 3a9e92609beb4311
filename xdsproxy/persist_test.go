// SPDX-License-Identifier: MPL-2.0

package xdsproxy

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"sync"
	"testing"
)

// memoryStore is a Store that a test can look into.
type memoryStore struct {
	mu      sync.Mutex
	content []byte
	saved   chan struct{}
	loadErr error
	saveErr error
}

func (m *memoryStore) Load() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.loadErr != nil {
		return nil, m.loadErr
	}
	if m.content == nil {
		return nil, fs.ErrNotExist
	}
	return m.content, nil
}

func (m *memoryStore) Save(content []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.saveErr != nil {
		return m.saveErr
	}
	m.content = content
	select {
	case m.saved <- struct{}{}:
	default:
	}
	return nil
}

func TestAnotherProcessServesWhatWasSaved(t *testing.T) {
	t.Parallel()
	store := &memoryStore{saved: make(chan struct{}, 16)}
	server := newConsul(t)
	p := startProxy(t, Config{Upstream: server.conn, Store: store})
	start(t, server, p)
	eventually(t, "clusters and endpoints are saved", func() bool {
		<-store.saved
		c := newCache()
		store.mu.Lock()
		defer store.mu.Unlock()
		return c.restore(store.content) == nil && len(c.names(endpointType)) == 2 && len(c.names(clusterType)) == 2
	})
	if err := server.conn.Close(); err != nil {
		t.Fatal(err)
	}

	p = startProxy(t, Config{Upstream: server.conn, Store: store})
	e := p.envoy(t.Context())
	e.send(&deltaRequest{Node: testNode(), TypeUrl: clusterType})
	r := e.receive()
	if got := names(r); !slices.Equal(got, []string{"a", "b"}) || string(r.GetResources()[1].GetResource().GetValue()) != "B" {
		t.Errorf("from the saved copy: %v", r)
	}
}

func TestWhatCannotBeLoadedIsLeft(t *testing.T) {
	t.Parallel()
	tests := map[string]*memoryStore{
		"unreadable": {loadErr: errors.New("it is damaged")},
		"nonsense":   {content: []byte("nonsense")},
		"cut off":    {content: appendBytes(nil, 1, []byte{0x12, 0x05, 0x01})},
		"truncated":  {content: []byte{0x0a, 0x7f}},
	}
	for name, store := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newConsul(t)
			p := startProxy(t, Config{Upstream: server.conn, Store: store})
			p.envoy(t.Context()).send(&deltaRequest{Node: testNode(), TypeUrl: clusterType})
			expectRequest(t, server.next().receive(), &deltaRequest{Node: testNode(), TypeUrl: clusterType})
		})
	}
}

// FuzzRestore: no snapshot makes it panic, and one that is taken gives itself
// back.
func FuzzRestore(f *testing.F) {
	c := newCache()
	c.put(clusterType, "a", resource{version: "1", small: marshal(f, resourceOf("a", "1", "A"))})
	f.Add(c.snapshot())
	f.Fuzz(func(t *testing.T, snapshot []byte) {
		c, again := newCache(), newCache()
		if c.restore(snapshot) != nil {
			return
		}
		if err := again.restore(c.snapshot()); err != nil {
			t.Fatal(err)
		}
		for typeURL := range c.types {
			if !slices.Equal(c.names(typeURL), again.names(typeURL)) {
				t.Errorf("%v became %v", c.names(typeURL), again.names(typeURL))
			}
		}
	})
}

// TestASaveThatFailsIsMadeUpFor: what could not be saved is still to be saved.
func TestASaveThatFailsIsMadeUpFor(t *testing.T) {
	t.Parallel()
	store := &memoryStore{saved: make(chan struct{}, 1), saveErr: errors.New("no space left")}
	s, err := New(Config{Upstream: newConsul(t).conn, PeerPID: os.Getpid, Store: store}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.cache.put(clusterType, "a", resource{version: "1"})
	s.saveNow()
	if !s.cache.dirty {
		t.Error("a failed save counts as done")
	}
	store.saveErr = nil
	s.saveNow()
	if s.cache.dirty || store.content == nil {
		t.Error("not saved at last")
	}
}
