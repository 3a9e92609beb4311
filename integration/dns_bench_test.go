// SPDX-License-Identifier: MPL-2.0

package integration

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"podplane/integration/consultest"
	"podplane/integration/mesh"
)

// benchEnv turns on what needs the machine for itself: `make dns-bench`.
const benchEnv = "PODPLANE_DNS_BENCH"

// benchServices is how many services there are to ask for.
const benchServices = 100

// benchTTL makes Consul's answers such as may be kept. Its own DNS server does
// not keep any, whatever their TTL.
const benchTTL = "10s"

// maxP99 is promised of 100 queries outstanding, without a cache, on two cores
// with nothing else to do.
const maxP99 = 20 * time.Millisecond

// benchTarget is who is measured.
type benchTarget struct {
	name, addr string
	pid        int  // 0: Consul itself
	answers    bool // none may be unanswered
	quick      bool // maxP99 is held
}

// benchLoad is how dnsperf asks: so many names in turn, so many queries
// outstanding, and not more in a second than rate, if that is not 0.
type benchLoad struct{ names, outstanding, rate int }

var benchLoads = []benchLoad{
	{1, 100, 0}, {100, 100, 0}, {10_000, 100, 0},
	{1, 1000, 0}, {100, 1000, 0}, {10_000, 1000, 0},
	{1, 10_000, 0}, {100, 10_000, 0}, {10_000, 10_000, 0},
	{10_000, 10_000, 10_000},
}

func (l benchLoad) String() string {
	text := fmt.Sprintf("%d outstanding, %d names", l.outstanding, l.names)
	if l.rate > 0 {
		text = fmt.Sprintf("%d a second, %d names", l.rate, l.names)
	}
	return strings.Replace(text, " 1 names", " 1 name", 1)
}

// TestDNSBench measures, with dnsperf, Consul's own DNS port and podplane before
// the gRPC port of the same server. With n queries outstanding and r answers a
// second, a query takes n/r on average, whoever answers: what Consul does by
// itself is printed beside everything.
func TestDNSBench(t *testing.T) {
	if os.Getenv(benchEnv) == "" {
		t.Skip("a measurement, of which other tests would be a part: run `make dns-bench`")
	}
	if _, err := exec.LookPath("dnsperf"); err != nil {
		t.Fatal("dnsperf is not installed: `make dns-tools` installs it")
	}
	load, err := os.ReadFile("/proc/loadavg")
	must(t, err)
	consul := consultest.New(t, consultest.Options{Config: map[string]any{"dns_config": map[string]any{
		"service_ttl": map[string]string{"*": benchTTL}, "allow_stale": true,
	}}})
	for i := range benchServices {
		must(t, consul.Client().Register(t.Context(), consultest.Service{Name: fmt.Sprint("s", i), Address: "10.9.0.1", Port: 80, ProxyPort: 20000}))
	}
	targets := benchTargets(t, consul)
	for _, target := range targets {
		benchLoad{names: 100, outstanding: 100}.run(t, target, time.Second) // warms up
	}
	var table strings.Builder
	table.WriteString("| load | asked | answers/s | p50 ms | p99 ms | unanswered | CPU µs/query | of Consul | memory MiB |\n")
	table.WriteString("|---|---|---|---|---|---|---|---|---|\n")
	for _, load := range benchLoads {
		for _, target := range targets {
			table.WriteString(load.measure(t, consul.PID(0), target))
		}
	}
	fmt.Printf("\nload average before: %s\n%s\n", strings.TrimSpace(string(load)), &table)
}

// benchTargets starts what is to be measured.
func benchTargets(t *testing.T, consul *consultest.Cluster) []benchTarget {
	t.Helper()
	alone := startShipped(t, consul, "-consul-dns-cache-size", "0")
	caching := startShipped(t, consul)
	binary, err := shipped()
	must(t, err)
	m, err := mesh.New(t.Context(), consul, binary)
	must(t, err)
	t.Cleanup(func() { must(t, m.Close()) })
	addr := reserve(t)
	_, port, _ := net.SplitHostPort(addr)
	pod, err := m.Start(t.Context(), mesh.PodSpec{Name: "web", Args: []string{"-consul-dns-bind-port", port, "-consul-dns-cache-size", "0"}})
	must(t, err, pod.WaitReady(t.Context()))
	return []benchTarget{
		{name: "Consul itself", addr: consul.DNSAddr(0)},
		{name: "dns-proxy, no cache", addr: alone.addr, pid: alone.process.PID(), answers: true, quick: true},
		{name: "sidecar, no cache", addr: addr, pid: pod.Dataplane().PID(), answers: true},
		{name: "dns-proxy, cache", addr: caching.addr, pid: caching.process.PID()},
	}
}

// measure gives a line of the table.
func (l benchLoad) measure(t *testing.T, consul int, target benchTarget) string {
	t.Helper()
	const duration = 3 * time.Second
	before, consulBefore := cpuTime(t, target.pid), cpuTime(t, consul)
	o := l.run(t, target, duration)
	used, consulUsed := cpuTime(t, target.pid)-before, cpuTime(t, consul)-consulBefore
	n := max(len(o.latencies), 1)
	each := func(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d.Microseconds())/float64(n)) }
	own, memory := "", ""
	if target.pid != 0 {
		own, memory = each(used), strconv.Itoa(residentMiB(t, target.pid, "VmRSS"))
		if lost := o.rcodes[dnsperfTimeout]; lost > 0 && target.answers {
			t.Errorf("%s, %s: %d unanswered", target.name, l, lost)
		}
	}
	if p99 := o.percentile(99); target.quick && l.outstanding <= 100 && p99 > maxP99 {
		t.Errorf("%s, %s: p99 %s, more than %s", target.name, l, p99, maxP99)
	}
	millis := func(percent int) string { return fmt.Sprintf("%.2f", o.percentile(percent).Seconds()*1000) }
	t.Logf("%s, %s: %s", target.name, l, o)
	return fmt.Sprintf("| %s | %s | %.0f | %s | %s | %d | %s | %s | %s |\n", l, target.name,
		float64(n)/o.took.Seconds(), millis(50), millis(99), o.rcodes[dnsperfTimeout], own, each(consulUsed), memory)
}

// dnsperfTimeout is what dnsperf writes in the place of a response code for a
// query without an answer for five seconds.
const dnsperfTimeout = "T"

// run has dnsperf ask, and reads what it says of each query.
func (l benchLoad) run(t *testing.T, target benchTarget, d time.Duration) *outcome {
	t.Helper()
	host, port, err := net.SplitHostPort(target.addr)
	must(t, err)
	args := []string{
		"-s", host, "-p", port, "-d", l.file(t), "-l", strconv.Itoa(int(d.Seconds())), "-q", strconv.Itoa(l.outstanding),
		"-c", strconv.Itoa(min(l.outstanding/10, 100)), "-b", "4096", "-v",
	}
	if l.rate > 0 {
		args = append(args, "-Q", strconv.Itoa(l.rate))
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, "dnsperf", args...).Output()
	if err != nil {
		t.Fatalf("dnsperf: %v\n%s", err, out[:min(len(out), 1000)])
	}
	o := &outcome{rcodes: map[string]int{}}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) > 2 && fields[0] == ">":
			o.rcodes[fields[1]]++
			if fields[1] != dnsperfTimeout {
				seconds, err := strconv.ParseFloat(fields[len(fields)-1], 64)
				must(t, err)
				o.latencies = append(o.latencies, time.Duration(seconds*float64(time.Second)))
			}
		case strings.HasPrefix(lines.Text(), "  Run time (s):"):
			seconds, err := strconv.ParseFloat(fields[len(fields)-1], 64)
			must(t, err)
			o.took = time.Duration(seconds * float64(time.Second))
		}
	}
	if len(o.latencies) == 0 || o.took == 0 {
		t.Fatalf("dnsperf measured nothing: %v\n%s", slices.Collect(maps.Keys(o.rcodes)), out[:min(len(out), 1000)])
	}
	slices.Sort(o.latencies)
	return o
}

// file writes the names: services, and when they are more than there are,
// others, to which Consul's answer is that they do not exist.
func (l benchLoad) file(t *testing.T) string {
	t.Helper()
	var text strings.Builder
	for i := range l.names {
		fmt.Fprintf(&text, "s%d.service.consul. A\n", i)
	}
	path := filepath.Join(t.TempDir(), "queries")
	must(t, os.WriteFile(path, []byte(text.String()), 0o600))
	return path
}

// cpuTime is the CPU time that a process has used: clock_getcpuclockid(3).
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	const schedClock = 2 // CPUCLOCK_SCHED: nanoseconds, of the whole process
	if pid == 0 {
		return 0
	}
	var ts unix.Timespec
	must(t, unix.ClockGettime(int32(^pid<<3|schedClock), &ts))
	return time.Duration(ts.Nano())
}
