// SPDX-License-Identifier: MPL-2.0

package netns

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// message is a request to the kernel's rtnetlink (https://man7.org/linux/man-pages/man7/rtnetlink.7.html).
type message struct {
	kind  uint16
	flags uint16
	body  []byte
}

const headerSize = unix.SizeofNlMsghdr

func pad(n int) int { return (n + 3) &^ 3 }

// attribute appends one to b: its length, its type, the data, and what aligns the next one.
func attribute(b []byte, kind uint16, data []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(4+len(data)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, data...)
	return append(b, make([]byte, pad(len(data))-len(data))...)
}

func text(s string) []byte { return append([]byte(s), 0) }

func number(n int) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(n)) }

// link is the head of a message about an interface: family, type, index, flags, and which flags to change.
func link(index int, flags uint32) []byte {
	b := make([]byte, 4, unix.SizeofIfInfomsg)
	b = binary.NativeEndian.AppendUint32(b, uint32(index))
	b = binary.NativeEndian.AppendUint32(b, flags)
	return binary.NativeEndian.AppendUint32(b, flags)
}

// send sends a message in the network namespace of the calling thread, and waits for the kernel's answer.
func send(m message) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	b := binary.NativeEndian.AppendUint32(nil, uint32(headerSize+len(m.body)))
	b = binary.NativeEndian.AppendUint16(b, m.kind)
	b = binary.NativeEndian.AppendUint16(b, m.flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	b = append(b, make([]byte, 8)...) // sequence and port: one question, one answer
	b = append(b, m.body...)
	if err := unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	answer := make([]byte, 8<<10)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return err
	}
	if n < headerSize+4 || binary.NativeEndian.Uint16(answer[4:]) != unix.NLMSG_ERROR {
		return fmt.Errorf("netlink: an answer of %d bytes that is no acknowledgement", n)
	}
	if code := int32(binary.NativeEndian.Uint32(answer[headerSize:])); code != 0 {
		return unix.Errno(-code)
	}
	return nil
}

// up takes an interface into use.
func up(name string) error {
	i, err := net.InterfaceByName(name)
	if err == nil {
		err = send(message{kind: unix.RTM_NEWLINK, body: link(i.Index, unix.IFF_UP)})
	}
	if err != nil {
		return fmt.Errorf("take %s into use: %w", name, err)
	}
	return nil
}

// addAddress gives an interface an address. One that it has is no error.
func addAddress(name string, prefix netip.Prefix) error {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return err
	}
	body := []byte{unix.AF_INET, byte(prefix.Bits()), 0, 0}
	body = binary.NativeEndian.AppendUint32(body, uint32(i.Index))
	body = attribute(body, unix.IFA_LOCAL, prefix.Addr().AsSlice())
	body = attribute(body, unix.IFA_ADDRESS, prefix.Addr().AsSlice())
	if err := send(message{kind: unix.RTM_NEWADDR, flags: unix.NLM_F_CREATE | unix.NLM_F_REPLACE, body: body}); err != nil {
		return fmt.Errorf("give %s to %s: %w", prefix, name, err)
	}
	return nil
}

// addDefaultRoute sends everything that is not on a network of its own to gateway.
func addDefaultRoute(gateway netip.Addr) error {
	body := []byte{
		unix.AF_INET, 0, 0, 0, unix.RT_TABLE_MAIN, unix.RTPROT_STATIC, unix.RT_SCOPE_UNIVERSE, unix.RTN_UNICAST,
		0, 0, 0, 0,
	}
	body = attribute(body, unix.RTA_GATEWAY, gateway.AsSlice())
	if err := send(message{kind: unix.RTM_NEWROUTE, flags: unix.NLM_F_CREATE, body: body}); err != nil {
		return fmt.Errorf("default route to %s: %w", gateway, err)
	}
	return nil
}

// bridgeAddress is the bridge's own, locally administered. Without one, a bridge has the least of its ports', which is
// another one as pods come and go, and what others have sent to the one before is lost.
func bridgeAddress() []byte { return []byte{2, 0, 0, 0, 0, 1} }

// addBridge makes a bridge and takes it into use.
func addBridge(name string) error {
	body := attribute(link(0, unix.IFF_UP), unix.IFLA_IFNAME, text(name))
	body = attribute(body, unix.IFLA_ADDRESS, bridgeAddress())
	body = attribute(body, unix.IFLA_LINKINFO, attribute(nil, unix.IFLA_INFO_KIND, text("bridge")))
	if err := send(message{kind: unix.RTM_NEWLINK, flags: unix.NLM_F_CREATE | unix.NLM_F_EXCL, body: body}); err != nil {
		return fmt.Errorf("make bridge %s: %w", name, err)
	}
	return nil
}

// vethPeer is the attribute with the other end of a pair, from linux/veth.h.
const vethPeer = 1

// addPair makes two interfaces that are joined: name on the bridge, and peerName in the namespace fd.
func addPair(name, bridge, peerName string, fd int) error {
	master, err := net.InterfaceByName(bridge)
	if err != nil {
		return err
	}
	// It cannot be taken into use before it knows its other end.
	peer := attribute(link(0, 0), unix.IFLA_IFNAME, text(peerName))
	peer = attribute(peer, unix.IFLA_NET_NS_FD, number(fd))
	info := attribute(nil, unix.IFLA_INFO_KIND, text("veth"))
	info = attribute(info, unix.IFLA_INFO_DATA, attribute(nil, vethPeer, peer))
	body := attribute(link(0, unix.IFF_UP), unix.IFLA_IFNAME, text(name))
	body = attribute(body, unix.IFLA_MASTER, number(master.Index))
	body = attribute(body, unix.IFLA_LINKINFO, info)
	if err := send(message{kind: unix.RTM_NEWLINK, flags: unix.NLM_F_CREATE | unix.NLM_F_EXCL, body: body}); err != nil {
		return fmt.Errorf("make interfaces %s and %s: %w", name, peerName, err)
	}
	return nil
}
