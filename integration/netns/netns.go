// SPDX-License-Identifier: MPL-2.0

package netns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// Bridge joins the namespaces of pods with each other and with this program's.
type Bridge struct {
	name   string
	prefix netip.Prefix
	dir    string

	mu   sync.Mutex
	last netip.Addr
	made int
}

// NewBridge makes a bridge in the namespace that [Reexec] made, and takes loopback into use. It has the first address of
// prefix, the pods have the next ones. dir must exist; it gets a file for each namespace.
func NewBridge(name string, prefix netip.Prefix, dir string) (*Bridge, error) {
	if err := setUp(); err != nil {
		return nil, err
	}
	first := prefix.Masked().Addr().Next()
	if err := addBridge(name); err != nil {
		return nil, err
	}
	if err := addAddress(name, netip.PrefixFrom(first, prefix.Bits())); err != nil {
		return nil, err
	}
	return &Bridge{name: name, prefix: prefix, dir: dir, last: first}, nil
}

// Addr is this program's own address on the bridge, which every pod reaches.
func (b *Bridge) Addr() netip.Addr { return b.prefix.Masked().Addr().Next() }

// AddLocal gives this program a further address, which every pod reaches too, wherever it is.
func (b *Bridge) AddLocal(addr netip.Addr) error {
	return addAddress("lo", netip.PrefixFrom(addr, addr.BitLen()))
}

// Namespace is that of one pod.
type Namespace struct {
	// Addr is the pod's address.
	Addr netip.Addr
	// Path is a file that stands for the namespace, as setns(2) takes it.
	Path string
}

// New makes a namespace that is joined to the bridge. Addresses are not used again.
func (b *Bridge) New() (*Namespace, error) {
	b.mu.Lock()
	b.last = b.last.Next()
	b.made++
	addr, number := b.last, b.made
	b.mu.Unlock()
	if !b.prefix.Contains(addr) {
		return nil, fmt.Errorf("%s is used up", b.prefix)
	}
	n := &Namespace{Addr: addr, Path: filepath.Join(b.dir, fmt.Sprintf("netns-%d", number))}
	if err := os.WriteFile(n.Path, nil, 0o600); err != nil {
		return nil, err
	}
	if err := onThread(func() error { return b.enterNew(n, number) }); err != nil {
		return nil, fmt.Errorf("network namespace for %s: %w", addr, err)
	}
	return n, nil
}

// enterNew runs on a thread that is given up afterwards.
func (b *Bridge) enterNew(n *Namespace, number int) error {
	outside, err := unix.Open(threadNet(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(outside) }()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	inside, err := unix.Open(threadNet(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(inside) }()
	// A mount keeps the namespace when no process is in it.
	if err := unix.Mount(threadNet(), n.Path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("keep it at %s: %w", n.Path, err)
	}
	if err := unix.Setns(outside, unix.CLONE_NEWNET); err != nil {
		return err
	}
	if err := addPair(fmt.Sprintf("pod%d", number), b.name, "eth0", inside); err != nil {
		return err
	}
	if err := unix.Setns(inside, unix.CLONE_NEWNET); err != nil {
		return err
	}
	if err := errors.Join(up("lo"), up("eth0")); err != nil {
		return err
	}
	if err := addAddress("eth0", netip.PrefixFrom(n.Addr, b.prefix.Bits())); err != nil {
		return err
	}
	return addDefaultRoute(b.Addr())
}

// Close removes the namespace, once no process is in it any more, and with it the interfaces.
func (n *Namespace) Close() error {
	if err := unix.Unmount(n.Path, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("give up %s: %w", n.Path, err)
	}
	return os.Remove(n.Path)
}

// DialContext connects as a program in the pod would, so that a client of this program may speak from there.
func (n *Namespace) DialContext(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = n.within(func() (err error) {
		conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// within calls do on a thread in the namespace. Goroutines that do starts are not in it.
func (n *Namespace) within(do func() error) error {
	return onThread(func() error {
		fd, err := unix.Open(n.Path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			return err
		}
		return do()
	})
}

// onThread calls do on a thread of its own, which ends with it: nothing else may ever run in its namespace.
func onThread(do func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked, so the thread ends with the goroutine
		done <- do()
	}()
	return <-done
}

func threadNet() string { return fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()) }
