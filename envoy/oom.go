// SPDX-License-Identifier: MPL-2.0

package envoy

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// oomCounter reads how many processes the kernel has killed for memory in podplane's cgroup (v2), which Envoy shares.
// https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files (memory.events)
type oomCounter struct {
	cgroupFile string // normally /proc/self/cgroup
	root       string // normally /sys/fs/cgroup
}

func newOOMCounter() oomCounter {
	return oomCounter{cgroupFile: "/proc/self/cgroup", root: "/sys/fs/cgroup"}
}

// kills is 0 where the cgroup does not tell.
func (c oomCounter) kills() uint64 {
	membership, err := os.ReadFile(c.cgroupFile)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(membership)) {
		path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue
		}
		// Without a cgroup namespace of its own a container sees the host's path here, but its own cgroup as the root.
		for _, dir := range []string{filepath.Join(c.root, path), c.root} {
			if events, err := os.ReadFile(filepath.Join(dir, "memory.events")); err == nil {
				return parseOOMKills(events)
			}
		}
	}
	return 0
}

func parseOOMKills(events []byte) uint64 {
	for line := range bytes.Lines(events) {
		if value, ok := bytes.CutPrefix(line, []byte("oom_kill ")); ok {
			n, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 10, 64)
			if err != nil {
				return 0
			}
			return n
		}
	}
	return 0
}
