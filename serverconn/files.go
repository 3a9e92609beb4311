// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"context"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// watchFiles pokes changed whenever one of the files may have changed, until
// ctx ends. It watches folders, because files are replaced rather than written
// (Kubernetes swaps a symbolic link beside them), and looks at the clock as
// well, because some file systems send no events.
func (s *Session) watchFiles(ctx context.Context, files []string, changed chan struct{}) {
	if len(files) == 0 {
		return
	}
	var events chan fsnotify.Event
	var failures chan error
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		s.log.Warn("no file events, looking at the files now and then", "interval", s.tune.filePoll, "error", err)
	} else {
		defer func() { _ = watcher.Close() }()
		for _, folder := range foldersOf(files) {
			if err := watcher.Add(folder); err != nil {
				s.log.Warn("no file events, looking at the folder now and then", "folder", folder, "interval", s.tune.filePoll, "error", err)
			}
		}
		events, failures = watcher.Events, watcher.Errors
	}
	poke(changed) // they may have changed since they were read
	poll := time.NewTicker(s.tune.filePoll)
	defer poll.Stop()
	var settled <-chan time.Time // of a change whose end is awaited
	for {
		select {
		case <-ctx.Done():
			return
		case <-events:
			// A certificate and its key come as two events.
			if settled == nil {
				settled = time.After(s.tune.fileSettle)
			}
		case err := <-failures:
			s.log.Debug("file events lost", "error", err)
		case <-settled:
			settled = nil
			poke(changed)
		case <-poll.C:
			poke(changed)
		}
	}
}

// foldersOf gives the folders whose entries decide what the paths hold: each
// path's own, the one that a symbolic link leads to, and paths that are folders.
func foldersOf(paths []string) []string {
	seen := make(map[string]bool)
	var folders []string
	add := func(folder string) {
		if !seen[folder] {
			seen[folder] = true
			folders = append(folders, folder)
		}
	}
	for _, path := range paths {
		if isFolder(path) {
			add(filepath.Clean(path))
		}
		add(filepath.Dir(path))
		if target, err := filepath.EvalSymlinks(path); err == nil {
			add(filepath.Dir(target))
		}
	}
	return folders
}
