// SPDX-License-Identifier: MPL-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"podplane/integration/bench/report"
)

// cpuUse is the CPU time that was used since the machine's start, by all, and by this program and those that it has
// started and waited for.
type cpuUse struct {
	at          time.Time
	busy, steal time.Duration
	own         time.Duration
}

// readCPUUse reads it. What a child has used counts from its end on.
func readCPUUse() (cpuUse, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return cpuUse{}, err
	}
	u := cpuUse{at: time.Now()}
	if u.busy, u.steal, err = parseStat(string(stat)); err != nil {
		return cpuUse{}, err
	}
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var r unix.Rusage
		if err := unix.Getrusage(who, &r); err != nil {
			return cpuUse{}, err
		}
		u.own += time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	return u, nil
}

// tick is the unit of /proc/stat: USER_HZ is 100 on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// parseStat reads the line of all CPUs:
// https://man7.org/linux/man-pages/man5/proc_stat.5.html.
func parseStat(text string) (busy, steal time.Duration, err error) {
	first, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(first)
	const user, nice, system, irq, softirq, stolen = 1, 2, 3, 6, 7, 8
	if len(fields) <= stolen || fields[0] != "cpu" {
		return 0, 0, fmt.Errorf("/proc/stat begins with %q", first)
	}
	for _, i := range []int{user, nice, system, irq, softirq, stolen} {
		n, err := strconv.ParseUint(fields[i], 10, 63)
		if err != nil {
			return 0, 0, fmt.Errorf("/proc/stat: %w", err)
		}
		if i == stolen {
			steal = time.Duration(n) * tick
		} else {
			busy += time.Duration(n) * tick
		}
	}
	return busy, steal, nil
}

// others says how many CPUs others have kept from us between two readings. It is what the kernel has counted by ticks less
// what it has measured, so it may come out a little below zero, which is none.
func others(from, to cpuUse) *report.Others {
	took := to.at.Sub(from.at)
	if took <= 0 {
		return nil
	}
	share := func(d time.Duration) float64 { return max(0, d.Seconds()/took.Seconds()) }
	return &report.Others{Programs: share((to.busy - from.busy) - (to.own - from.own)), Hypervisor: share(to.steal - from.steal)}
}

// adopt makes the Envoys of dataplanes that were killed our own children, so that they can be waited for.
func adopt() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// endGrace is for programs that end by themselves when the benchmark hangs up.
const endGrace = 5 * time.Second

// awaitEnd waits until a process has ended, our child or not, and kills a child that has not done so within grace.
func awaitEnd(pid int, grace time.Duration) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(grace)
	defer deadline.Stop()
	for {
		reaped, err := unix.Wait4(pid, nil, unix.WNOHANG, nil)
		if reaped == pid || err != nil && errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			if err == nil { // it is our child, so that the number is still its own
				_ = unix.Kill(pid, unix.SIGKILL)
				_, _ = unix.Wait4(pid, nil, 0, nil)
			}
			return
		}
	}
}
