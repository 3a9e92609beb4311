// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

import (
	"fmt"
	"strings"
)

// address is envoy.config.core.v3.Address: exactly one of its fields is set.
type address struct {
	Socket *socketAddress `json:"socket_address,omitempty"`
	Pipe   *pipe          `json:"pipe,omitempty"`
}

// socketAddress always writes its port: port 0 is a port, while a missing one is an error to Envoy.
type socketAddress struct {
	Protocol  string `json:"protocol,omitempty"`
	Address   string `json:"address"`
	PortValue int    `json:"port_value"`
}

type pipe struct {
	Path string `json:"path"`
}

func socket(a Address) address {
	return address{Socket: &socketAddress{Address: a.Host, PortValue: a.Port}}
}

func unixSocket(path string) address {
	return address{Pipe: &pipe{Path: path}}
}

// xdsAddress reads the forms of [XDS.Address].
func xdsAddress(s string) (address, error) {
	if isSocketPath(s) {
		return unixSocket(s), checkSocketPath(s)
	}
	tcp, err := parseAddress(s)
	if err != nil {
		return address{}, err
	}
	return socket(tcp), nil
}

// isSocketPath tells a Unix socket from `ip:port`.
func isSocketPath(s string) bool { return strings.HasPrefix(s, "/") || strings.HasPrefix(s, "@") }

// maxSocketPath is the room in Linux's sockaddr_un but for the terminating zero byte, see unix(7).
const maxSocketPath = 107

func checkSocketPath(path string) error {
	switch {
	case len(path) < 2:
		return fmt.Errorf("socket path %s is empty", clip(path))
	case len(path) > maxSocketPath:
		return fmt.Errorf("socket path %s has %d bytes, more than %d", clip(path), len(path), maxSocketPath)
	case strings.ContainsRune(path, 0):
		return fmt.Errorf("socket path %s contains a zero byte", clip(path))
	}
	return nil
}
