// SPDX-License-Identifier: MPL-2.0

package envoybin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"podplane/integration/servers"
)

const (
	standInPackage = "./integration/standin"
	// standInPrefix begins the names of all stand-ins in the cache folder.
	standInPrefix = "standin-"
	// keepUnused is for how long a stand-in is kept that nobody uses.
	keepUnused = 3 * 24 * time.Hour
)

func buildStandIn(ctx context.Context) (string, error) {
	root, err := servers.ModuleDir(ctx)
	if err != nil {
		return "", err
	}
	cache, err := servers.CacheDir()
	if err != nil {
		return "", err
	}
	return builder{root: root, cache: cache, log: os.Stderr}.build(ctx)
}

// builder makes the stand-in of one source tree.
type builder struct {
	root  string // the module that has integration/standin
	cache string
	log   io.Writer
}

// build returns the stand-in's path in the cache. The name carries a hash of its sources, so that a
// changed stand-in is never mistaken for the old one and an unchanged one is not linked again.
func (b builder) build(ctx context.Context) (string, error) {
	sum, err := b.sourceHash(ctx)
	if err != nil {
		return "", err
	}
	path := filepath.Join(b.cache, standInPrefix+sum)
	if _, err := os.Stat(path); err == nil {
		// Its time says when it was last used. In a cache that is not ours to write nothing is removed either.
		_ = os.Chtimes(path, time.Time{}, time.Now())
		return path, nil
	}
	fmt.Fprintf(b.log, "envoy stand-in: building %s, up to a minute the first time\n", path)
	if err := b.compile(ctx, path); err != nil {
		return "", err
	}
	return path, b.sweep(path)
}

// sweep removes stand-ins of other sources that were not used for long, and what interrupted builds have left. Each is
// 25 MB, and each change of the sources makes one; younger ones may be in use by another working tree.
func (b builder) sweep(used string) error {
	entries, err := os.ReadDir(b.cache)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		path := filepath.Join(b.cache, entry.Name())
		if path == used || !strings.HasPrefix(entry.Name(), standInPrefix) {
			continue
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // another build removed it
		}
		if err != nil {
			return err
		}
		if time.Since(info.ModTime()) > keepUnused {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// compile builds beside the final name and renames, so that builders at the same time do no harm.
func (b builder) compile(ctx context.Context, path string) (err error) {
	tmp, err := os.MkdirTemp(filepath.Dir(path), standInPrefix+"build-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	built := filepath.Join(tmp, "standin")
	if _, err := servers.Go(ctx, b.root, "build", "-trimpath", "-ldflags", "-s -w", "-o", built, standInPackage); err != nil {
		return err
	}
	return os.Rename(built, path)
}

// sourceHash covers the files of this module that the stand-in is compiled from, the module's
// requirements and the toolchain.
func (b builder) sourceHash(ctx context.Context) (string, error) {
	files, err := b.sources(ctx)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version())
	for _, file := range append(files, filepath.Join(b.root, "go.mod"), filepath.Join(b.root, "go.sum")) {
		if err := hashFile(h, file); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

func hashFile(h io.Writer, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	fmt.Fprintln(h, filepath.Base(file), len(data))
	_, err = h.Write(data)
	return err
}

// sources lists the stand-in's own files and those of the packages of this module that it imports.
func (b builder) sources(ctx context.Context) ([]string, error) {
	out, err := servers.Go(ctx, b.root, "list", "-deps", "-json=Dir,Module,GoFiles,EmbedFiles", standInPackage)
	if err != nil {
		return nil, err
	}
	var files []string
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var pkg struct {
			Dir                 string
			Module              *struct{ Main bool }
			GoFiles, EmbedFiles []string
		}
		if err := dec.Decode(&pkg); errors.Is(err, io.EOF) {
			return files, nil
		} else if err != nil {
			return nil, fmt.Errorf("read the stand-in's sources: %w", err)
		}
		if pkg.Module == nil || !pkg.Module.Main {
			continue
		}
		for _, name := range append(pkg.GoFiles, pkg.EmbedFiles...) {
			files = append(files, filepath.Join(pkg.Dir, name))
		}
	}
}
