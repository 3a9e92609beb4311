// SPDX-License-Identifier: MPL-2.0

package consulend

import (
	"fmt"
	"strings"
)

// The types of resources that are served.
const (
	ClusterType  = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	ListenerType = "type.googleapis.com/envoy.config.listener.v3.Listener"
	// MeasureType is that of the resources of [Push] and [Echo]: one to which
	// Envoy subscribes by name.
	MeasureType = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
)

// Push is the name of a resource that is sent count times, with bodies of size
// bytes, without waiting for answers. run makes the name unique.
func Push(count, size, run int) string { return fmt.Sprintf("push %d %d %d", count, size, run) }

// Echo is the name of a resource of size bytes that is sent once, and again for
// each answer. run makes the name unique.
func Echo(size, run int) string { return fmt.Sprintf("echo %d %d", size, run) }

// maxBody bounds what a name can ask for, in bytes.
const maxBody = 64 << 20

func parsePush(name string) (count, size int, ok bool) {
	rest, ok := strings.CutPrefix(name, "push ")
	if !ok {
		return 0, 0, false
	}
	if _, err := fmt.Sscan(rest, &count, &size); err != nil {
		return 0, 0, false
	}
	return count, size, count >= 0 && size >= 0 && size <= maxBody
}

func parseEcho(name string) (size int, ok bool) {
	rest, ok := strings.CutPrefix(name, "echo ")
	if !ok {
		return 0, false
	}
	if _, err := fmt.Sscan(rest, &size); err != nil {
		return 0, false
	}
	return size, size >= 0 && size <= maxBody
}

// body is size bytes that are not all the same.
func body(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i * 7)
	}
	return b
}
