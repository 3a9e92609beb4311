// SPDX-License-Identifier: MPL-2.0

package xdsproxy

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

const unixScheme = "unix://"

// listen binds the address of a Config. An empty one is a socket of a random
// name in Linux's abstract namespace: it needs no writable folder and leaves no
// file behind.
func listen(addr string) (net.Listener, error) {
	switch path, isUnix := strings.CutPrefix(addr, unixScheme); {
	case addr == "":
		return net.Listen("unix", "@podplane-xds-"+rand.Text())
	case isUnix:
		return listenUnix(path)
	default:
		return net.Listen("tcp", addr)
	}
}

// listenUnix binds a socket in the file system, readable for its owner only. A
// socket that nobody answers on, left by a process that was killed, is removed.
func listenUnix(path string) (net.Listener, error) {
	l, err := net.Listen("unix", path)
	if errors.Is(err, syscall.EADDRINUSE) && stale(path) {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove stale socket: %w", err)
		}
		l, err = net.Listen("unix", path)
	}
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(path, "@") {
		return l, nil
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func stale(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != fs.ModeSocket {
		return false
	}
	conn, err := net.DialTimeout("unix", path, time.Second) //nolint:noctx // it has its bound
	if err != nil {
		return errors.Is(err, syscall.ECONNREFUSED)
	}
	_ = conn.Close()
	return false
}
