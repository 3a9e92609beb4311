// SPDX-License-Identifier: MPL-2.0

package companion

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"podplane/injector"
)

// maxAuthorities bounds what is read, in bytes; the injector takes less.
const maxAuthorities = 1 << 20

// authorities are the CAs of the Consul servers, which may be replaced while the
// companion runs: a volume's file changes with its Secret.
type authorities struct {
	path string

	mu    sync.Mutex
	since time.Time
	size  int64
	text  string
}

// current returns what the file holds, empty if there is no file to read. Once
// there was something good in it, that is used until there is something good
// again: pods go on being made.
func (a *authorities) current() (string, error) {
	if a.path == "" {
		return "", nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.look(); err != nil && a.text == "" {
		return "", fmt.Errorf("read the CAs of the Consul servers: %w", err)
	}
	return a.text, nil
}

func (a *authorities) look() error {
	info, err := os.Stat(a.path)
	if err != nil || info.ModTime().Equal(a.since) && info.Size() == a.size {
		return err
	}
	file, err := os.Open(a.path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	data, err := io.ReadAll(io.LimitReader(file, maxAuthorities))
	if err != nil {
		return err
	}
	if err := injector.CheckCA(string(data)); err != nil {
		return err
	}
	a.since, a.size, a.text = info.ModTime(), info.Size(), string(data)
	return nil
}
