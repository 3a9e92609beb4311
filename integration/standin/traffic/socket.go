// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// boundSocket is an address that is taken but does not listen yet, as a listener's is in Envoy while it warms: nobody
// else can have it, and clients are refused.
type boundSocket struct {
	file *os.File
	path string // of a pipe, to be removed at the end
}

// bind takes an address. A port of zero takes a free one.
func bind(addr address, mode os.FileMode) (*boundSocket, error) {
	family, sa, err := sockaddr(addr)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	s := &boundSocket{file: os.NewFile(uintptr(fd), addr.target)}
	if addr.network == "unix" && addr.target[0] != '@' {
		s.path = addr.target
		if err := removeStale(addr.target); err != nil {
			return nil, errors.Join(err, s.file.Close())
		}
	} else if family != unix.AF_UNIX {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if err = errors.Join(err, unix.Bind(fd, sa)); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot bind '%s': %w", addr.target, err), s.file.Close())
	}
	if s.path != "" && mode != 0 {
		if err := os.Chmod(s.path, mode); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	return s, nil
}

func sockaddr(addr address) (int, unix.Sockaddr, error) {
	if addr.network == "unix" {
		return unix.AF_UNIX, &unix.SockaddrUnix{Name: addr.target}, nil
	}
	ap, err := netip.ParseAddrPort(addr.target)
	if err != nil {
		return 0, nil, err
	}
	if ap.Addr().Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}, nil
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: int(ap.Port()), Addr: ap.Addr().As16()}, nil
}

// removeStale removes a socket file that a predecessor left. Envoy unlinks whatever socket is in the way.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("cannot bind '%s': %w", path, unix.EADDRINUSE)
	}
	return os.Remove(path)
}

// listen starts listening; the socket itself may be closed afterwards, its path is then the listener's to remove.
func (s *boundSocket) listen(backlog int) (net.Listener, error) {
	raw, err := s.file.SyscallConn()
	if err != nil {
		return nil, err
	}
	var failure error
	if err := raw.Control(func(fd uintptr) { failure = unix.Listen(int(fd), backlog) }); err != nil {
		return nil, err
	}
	if failure != nil {
		return nil, fmt.Errorf("cannot listen on '%s': %w", s.file.Name(), failure)
	}
	return net.FileListener(s.file)
}

// localAddr is the bound address, with the port that was chosen.
func (s *boundSocket) localAddr() string {
	raw, err := s.file.SyscallConn()
	if err != nil {
		return s.file.Name()
	}
	name := s.file.Name()
	_ = raw.Control(func(fd uintptr) {
		sa, err := unix.Getsockname(int(fd))
		if err != nil {
			return
		}
		switch a := sa.(type) {
		case *unix.SockaddrInet4:
			name = netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)).String()
		case *unix.SockaddrInet6:
			name = netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port)).String()
		}
	})
	return name
}

// close gives the address up.
func (s *boundSocket) close() error {
	err := s.file.Close()
	if s.path != "" {
		_ = os.Remove(s.path) // somebody else may have taken it away
	}
	return err
}

// originalDst asks the kernel where a redirected connection was going. Without a redirection that is the local address.
func originalDst(c net.Conn) netip.AddrPort {
	local := addrPort(c.LocalAddr())
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return local
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return local
	}
	found := local
	_ = raw.Control(func(fd uintptr) {
		if local.Addr().Unmap().Is4() {
			// struct sockaddr_in fits into the first bytes of an ip_mreq answer: family, port, address.
			if m, err := unix.GetsockoptIPv6Mreq(int(fd), unix.IPPROTO_IP, unix.SO_ORIGINAL_DST); err == nil {
				b := m.Multiaddr
				found = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), uint16(b[2])<<8|uint16(b[3]))
			}
			return
		}
		if m, err := unix.GetsockoptIPv6MTUInfo(int(fd), unix.IPPROTO_IPV6, unix.SO_ORIGINAL_DST); err == nil {
			p := m.Addr.Port // in network byte order
			found = netip.AddrPortFrom(netip.AddrFrom16(m.Addr.Addr), p<<8|p>>8)
		}
	})
	return found
}

// addrPort is the IP address and port of a net.Addr, or nothing for a pipe.
func addrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
