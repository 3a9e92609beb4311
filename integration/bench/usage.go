// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime is the CPU time that a process has used, that of its threads that have
// ended too, by its CPU-time clock: clock_getcpuclockid(3).
func cpuTime(pid int) (time.Duration, error) {
	const schedClock = 2 // CPUCLOCK_SCHED: nanoseconds, of the whole process
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|schedClock), &ts); err != nil {
		return 0, fmt.Errorf("read the cpu clock of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// memory is the resident memory of a process and its highest so far, in MiB, as
// the kernel tells: https://man7.org/linux/man-pages/man5/proc_pid_status.5.html.
func memory(pid int) (resident, peak float64, err error) {
	path := fmt.Sprintf("/proc/%d/status", pid)
	resident, err = field(path, "VmRSS")
	if err == nil {
		peak, err = field(path, "VmHWM")
	}
	return resident / 1024, peak / 1024, err
}

// field finds "name: number" in a file of /proc.
func field(path, name string) (float64, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		key, rest, _ := strings.Cut(lines.Text(), ":")
		if words := strings.Fields(rest); strings.TrimSpace(key) == name && len(words) > 0 {
			return strconv.ParseFloat(words[0], 64)
		}
	}
	return 0, fmt.Errorf("%s has no %s", path, name)
}
