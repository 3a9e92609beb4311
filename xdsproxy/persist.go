// SPDX-License-Identifier: MPL-2.0

package xdsproxy

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"time"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// saveDelay is how long the last-known-good configuration is left to settle
// before it is written: a change comes as several messages.
const saveDelay = 500 * time.Millisecond

// Store keeps a copy of the last-known-good configuration beyond the life of the
// process. It holds private keys.
type Store interface {
	// Load gives what was saved last. fs.ErrNotExist: nothing was.
	Load() ([]byte, error)
	// Save replaces it.
	Save(content []byte) error
}

// snapshot gives the whole cache: for each type one field with a response that
// holds all of its resources.
func (c *cache) snapshot() []byte {
	c.dirty = false
	var out []byte
	for typeURL := range c.types {
		var resources []resource
		for _, name := range c.names(typeURL) {
			resources = append(resources, c.types[typeURL][name])
		}
		f := encodeResponse(typeURL, "", resources, nil)
		out = appendBytes(out, 1, f.data.Materialize())
		f.free()
	}
	return out
}

// restore fills the cache from a snapshot. On an error the cache is unchanged.
func (c *cache) restore(snapshot []byte) error {
	types := make(map[string]map[string]resource)
	for len(snapshot) > 0 {
		num, typ, n := protowire.ConsumeTag(snapshot)
		if n < 0 || num != 1 || typ != protowire.BytesType {
			return errors.New("not a snapshot of resources")
		}
		message, m := protowire.ConsumeBytes(snapshot[n:])
		if m < 0 {
			return errTruncated
		}
		snapshot = snapshot[n+m:]
		r, err := parseResponse(mem.BufferSlice{mem.SliceBuffer(message)})
		if err != nil {
			return err
		}
		held := make(map[string]resource, len(r.resources))
		for _, ref := range r.resources {
			// Copies, for a reference would keep the whole snapshot.
			held[ref.name] = newResource(ref.version, bytes.Clone(message[ref.offset:ref.end]))
		}
		types[r.typeURL] = held
	}
	c.types = types
	return nil
}

// load fills the cache from the store. What cannot be used is refused with a
// line in the log, and the servers are waited for as if there were nothing.
func (s *Server) load() {
	content, err := s.config.Store.Load()
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		err = s.cache.restore(content)
	}
	if err != nil {
		s.log.Warn("the saved configuration is not used", "error", err)
		return
	}
	s.log.Info("loaded the saved configuration", "types", len(s.cache.types), "bytes", len(content))
}

// save writes the cache to the store some time after it has changed, until ctx
// is done, and then a last time.
func (s *Server) save(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-s.changed:
			select {
			case <-ctx.Done():
			case <-time.After(saveDelay):
			}
			s.saveNow()
		}
	}
	select {
	case <-s.changed:
		s.saveNow()
	default:
	}
}

func (s *Server) saveNow() {
	s.mu.Lock()
	content := s.cache.snapshot()
	s.mu.Unlock()
	if err := s.config.Store.Save(content); err != nil {
		s.log.Warn("the configuration cannot be saved", "error", err)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.cache.dirty = true // tried again with Envoy's next request
	}
}

// noteChange asks for the cache to be saved.
func (s *Server) noteChange() {
	select {
	case s.changed <- struct{}{}:
	default: // it is asked for already
	}
}
