// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import (
	"bytes"
	"net"
	"syscall"
)

// notePacketInfo asks the kernel to note with each packet the address it was
// sent to: without that, an answer from a socket bound to all addresses goes
// out from any of the host's, and the client does not take it for one. It gives
// the room for that note. See IP_PKTINFO in ip(7), IPV6_RECVPKTINFO in ipv6(7).
func notePacketInfo(c *net.UDPConn) (int, error) {
	level, option, size := syscall.IPPROTO_IPV6, syscall.IPV6_RECVPKTINFO, syscall.SizeofInet6Pktinfo
	if c.LocalAddr().(*net.UDPAddr).IP.To4() != nil {
		level, option, size = syscall.IPPROTO_IP, syscall.IP_PKTINFO, syscall.SizeofInet4Pktinfo
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = syscall.SetsockoptInt(int(fd), level, option, 1) })
	if err == nil {
		err = failed
	}
	return syscall.CmsgSpace(size), err
}

// sourceOf makes of such a note the one to send an answer with, which differs
// by the interface: that the packet came by one does not mean that the answer
// must leave by it.
func sourceOf(note []byte) []byte {
	if len(note) == 0 {
		return nil
	}
	note = bytes.Clone(note)
	parts, err := syscall.ParseSocketControlMessage(note)
	if err != nil || len(parts) != 1 {
		return nil
	}
	switch h, data := parts[0].Header, parts[0].Data; { // the data lies in note
	case h.Level == syscall.IPPROTO_IP && h.Type == syscall.IP_PKTINFO && len(data) == syscall.SizeofInet4Pktinfo:
		clear(data[:4]) // ipi_ifindex comes first
	case h.Level == syscall.IPPROTO_IPV6 && h.Type == syscall.IPV6_PKTINFO && len(data) == syscall.SizeofInet6Pktinfo:
		clear(data[16:]) // ipi6_ifindex comes last
	default:
		return nil
	}
	return note
}
