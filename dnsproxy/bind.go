// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

const (
	// bindAttempts is how many free ports to try for one that is free for both
	// transports.
	bindAttempts = 32
	// udpBuffer is asked for, so that bursts find room while others are read;
	// the kernel gives as much as net.core.rmem_max allows. Half of it has room
	// for 10,000 queries, but what was read counts for a while yet, up to a
	// quarter of all (udp_rmem_release in net/ipv4/udp.c).
	udpBuffer = 8 << 20
)

// bind takes addr for TCP and UDP.
func bind(addr string) (*net.TCPListener, *udpSocket, error) {
	want, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, nil, fmt.Errorf("bind dns: %w", err)
	}
	for attempt := 1; ; attempt++ {
		tcp, err := net.ListenTCP(network("tcp", want.IP), want)
		if err != nil {
			return nil, nil, fmt.Errorf("bind dns: %w", err)
		}
		bound := tcp.Addr().(*net.TCPAddr)
		udp, err := listenUDP(&net.UDPAddr{IP: want.IP, Port: bound.Port, Zone: want.Zone})
		if err == nil {
			return tcp, udp, nil
		}
		_ = tcp.Close()
		taken := errors.Is(err, syscall.EADDRINUSE)
		if want.Port != 0 || !taken || attempt == bindAttempts {
			return nil, nil, fmt.Errorf("bind dns: %w", err)
		}
	}
}

// network keeps 0.0.0.0 from meaning both families, as it does to package net.
func network(transport string, ip net.IP) string {
	if ip.To4() != nil {
		return transport + "4"
	}
	return transport
}
