// SPDX-License-Identifier: MPL-2.0

package certs

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// given writes a certificate of a new authority into files.
func given(t *testing.T, dir string) FilesConfig {
	t.Helper()
	ca, err := newAuthority(time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := newLeaf(ca, names, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := leaf.encode()
	if err != nil {
		t.Fatal(err)
	}
	cfg := FilesConfig{
		Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"), CA: filepath.Join(dir, "ca.crt"),
		Interval: 5 * time.Millisecond,
	}
	for path, data := range map[string][]byte{cfg.Cert: cert, cfg.Key: key, cfg.CA: encodeCerts(ca.cert)} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cfg
}

func TestFilesAreReadAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := given(t, dir)
	api := newAPIServer()
	cfg.Cluster = api.cluster()
	store := &Store{}
	files, err := NewFiles(cfg, store, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Ready(); err == nil {
		t.Error("ready before the authority is published")
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- files.Run(ctx) }()
	await(t, "ready", func() bool { return store.Ready() == nil })
	first := store.get().Leaf

	given(t, dir)
	await(t, "reloaded", func() bool { return !store.get().Leaf.Equal(first) && store.Ready() == nil })
	if err := (replica{store: store}).accepted(api.bundle(), time.Now()); err != nil {
		t.Error(err)
	}
	second := store.get()
	if err := os.WriteFile(cfg.Key, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := files.load(); err == nil || strings.Contains(err.Error(), "half") {
		t.Errorf("a damaged key gives %v", err)
	}
	if store.get() != second && !store.get().Leaf.Equal(second.Leaf) {
		t.Error("a damaged key replaced a good one")
	}
}

func TestFilesWithoutAuthority(t *testing.T) {
	t.Parallel()
	cfg := given(t, t.TempDir())
	cfg.CA = ""
	store := &Store{}
	files, err := NewFiles(cfg, store, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := files.publish(t.Context()); err != nil {
		t.Error(err)
	}
	if err := store.Ready(); err != nil {
		t.Error(err)
	}
}

func TestFilesAreRefused(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*FilesConfig){
		"no certificate": func(c *FilesConfig) { c.Cert = "/does/not/exist" },
		"no key":         func(c *FilesConfig) { c.Key = "/does/not/exist" },
		"another key":    func(c *FilesConfig) { c.Key = c.Cert },
	} {
		cfg := given(t, t.TempDir())
		spoil(&cfg)
		if _, err := NewFiles(cfg, &Store{}, nil); err == nil || !strings.Contains(err.Error(), "webhook") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAuthorityFile(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		spoil func(*testing.T, *FilesConfig, *apiServer)
		says  string
	}{
		"missing": {func(_ *testing.T, c *FilesConfig, _ *apiServer) { c.CA = "/does/not/exist" }, "read webhook authorities"},
		"empty":   {func(_ *testing.T, c *FilesConfig, _ *apiServer) { c.CA = c.Key }, "holds no certificate"},
		"no configuration": {func(_ *testing.T, _ *FilesConfig, a *apiServer) { a.config = nil },
			"not found"},
	} {
		api := newAPIServer()
		cfg := given(t, t.TempDir())
		cfg.Cluster = api.cluster()
		files, err := NewFiles(cfg, &Store{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		tc.spoil(t, &files.cfg, api)
		if err := files.publish(t.Context()); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
