// SPDX-License-Identifier: MPL-2.0

package envoy

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// reapAge is how long a zombie must have been one before the reaper takes it. Whoever waits for a child of podplane's
// own does so at once; what nobody has waited for after this time is an orphan of somebody else's.
const reapAge = 2 * time.Second

// Reaper takes the exit status of processes that the kernel has handed to podplane because their parents ended first.
// Only a PID 1, or a subreaper, is handed any; without it they would stay as zombies until the container's process
// limit is reached.
//
// It must not take the status of children that os/exec waits for (Envoy, or an exec= address lookup inside a library),
// so it takes only zombies that have stayed zombies for some time.
type Reaper struct {
	log  hclog.Logger
	proc string        // where procfs is mounted
	age  time.Duration // see reapAge
	self int
	pid1 bool
}

// NewReaper gives a reaper whose Run does nothing unless this process is PID 1.
func NewReaper(log hclog.Logger) *Reaper {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	self := os.Getpid()
	return &Reaper{log: log, proc: "/proc", age: reapAge, self: self, pid1: self == 1}
}

// zombie names a dead process so that a later one with the same PID is another.
type zombie struct {
	pid   int
	start string // its start time in clock ticks, as /proc writes it
}

// Run reaps until ctx ends. It returns nil.
func (r *Reaper) Run(ctx context.Context) error {
	if !r.pid1 {
		<-ctx.Done()
		return nil
	}
	died := make(chan os.Signal, 1) // one pending notice is enough: each look finds all
	signal.Notify(died, unix.SIGCHLD)
	defer signal.Stop(died)
	again := time.NewTimer(0)
	defer again.Stop()
	seen := map[zombie]time.Time{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-died:
		case <-again.C:
		}
		seen = r.sweep(time.Now(), seen)
		if len(seen) > 0 {
			again.Reset(r.age)
		}
	}
}

// sweep reaps the zombies that are old enough and gives the younger ones with the time of their discovery.
func (r *Reaper) sweep(now time.Time, seen map[zombie]time.Time) map[zombie]time.Time {
	younger := map[zombie]time.Time{}
	for _, z := range r.zombies() {
		since, known := seen[z]
		if !known {
			since = now
		}
		if now.Sub(since) < r.age {
			younger[z] = since
			continue
		}
		var status unix.WaitStatus
		if pid, err := unix.Wait4(z.pid, &status, unix.WNOHANG, nil); err == nil && pid == z.pid {
			r.log.Debug("orphan reaped", "pid", z.pid, "exit_code", status.ExitStatus())
		}
	}
	return younger
}

// zombies lists this process's dead children.
func (r *Reaper) zombies() []zombie {
	entries, err := os.ReadDir(r.proc)
	if err != nil {
		r.log.Warn("orphans are not reaped", "error", err)
		return nil
	}
	var dead []zombie
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == r.self {
			continue
		}
		stat, err := os.ReadFile(fmt.Sprintf("%s/%d/stat", r.proc, pid))
		if err != nil {
			continue // gone meanwhile
		}
		if start, ok := deadChild(stat, r.self); ok {
			dead = append(dead, zombie{pid: pid, start: start})
		}
	}
	return dead
}

// deadChild reads a /proc/PID/stat line, tells whether it is of a zombie whose parent is given, and gives its start
// time. https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
func deadChild(stat []byte, parent int) (start string, ok bool) {
	// The name, in brackets, may contain anything, brackets too. What follows the last one is safe to split.
	at := bytes.LastIndexByte(stat, ')')
	if at < 0 {
		return "", false
	}
	fields := strings.Fields(string(stat[at+1:]))
	// Field 3 of the manual is the first here: state, parent, …, and field 22, the start time.
	const state, ppid, startTime = 0, 1, 19
	if len(fields) <= startTime || fields[state] != "Z" || fields[ppid] != strconv.Itoa(parent) {
		return "", false
	}
	return fields[startTime], true
}
