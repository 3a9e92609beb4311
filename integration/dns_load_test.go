// SPDX-License-Identifier: MPL-2.0

package integration

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"podplane/integration/consultest"
	"podplane/integration/mesh"
)

// volley is a load of queries over UDP: each of some clients keeps a number of
// them outstanding until it has sent its share.
type volley struct {
	clients, outstanding, total int
	// distinct makes every question another one, so that none shares an answer
	// with another under way.
	distinct bool
}

// outcome is what came of a volley.
type outcome struct {
	latencies []time.Duration // sorted
	rcodes    map[string]int
	took      time.Duration
}

func (o *outcome) String() string {
	n := len(o.latencies)
	if n == 0 {
		return "no answer"
	}
	at := func(percent int) time.Duration { return o.percentile(percent).Round(100 * time.Microsecond) }
	return fmt.Sprintf("%d answers, %.0f/s, p50 %s p99 %s max %s, %v",
		n, float64(n)/o.took.Seconds(), at(50), at(99), at(100), o.rcodes)
}

func (o *outcome) percentile(percent int) time.Duration {
	return o.latencies[(len(o.latencies)-1)*percent/100]
}

// fire sends a volley and waits until all is answered, or nothing comes any
// more for answerTimeout.
func (v volley) fire(t *testing.T, addr string) *outcome {
	t.Helper()
	o := &outcome{rcodes: map[string]int{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	begin := time.Now()
	for i := range v.clients {
		wg.Go(func() {
			latencies, rcodes, err := v.client(t, addr, i)
			mu.Lock()
			defer mu.Unlock()
			o.latencies = append(o.latencies, latencies...)
			for rcode, n := range rcodes {
				o.rcodes[rcode] += n
			}
			if err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	o.took = time.Since(begin)
	slices.Sort(o.latencies)
	return o
}

func (v volley) client(t *testing.T, addr string, i int) ([]time.Duration, map[string]int, error) {
	t.Helper()
	share := v.total / v.clients
	packets := make([][]byte, share)
	for id := range packets {
		name := "api.service.consul."
		if v.distinct {
			name = fmt.Sprintf("n%d-%d.service.consul.", i, id)
		}
		packets[id] = query(t, name, dns.TypeA, 0)
		binary.BigEndian.PutUint16(packets[id], uint16(id))
	}
	c, err := net.Dial("udp", addr)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = c.Close() }()
	sent := make([]time.Time, share)
	next := 0
	send := func() error {
		if next == share {
			return nil
		}
		next++
		sent[next-1] = time.Now()
		_, err := c.Write(packets[next-1])
		return err
	}
	for range min(v.outstanding, share) {
		if err := send(); err != nil {
			return nil, nil, err
		}
	}
	latencies, rcodes, buf := make([]time.Duration, 0, share), map[string]int{}, make([]byte, 4096)
	for range share {
		_ = c.SetReadDeadline(time.Now().Add(answerTimeout))
		if _, err := c.Read(buf); err != nil {
			return latencies, rcodes, fmt.Errorf("%d of %d unanswered: %w", share-len(latencies), share, err)
		}
		latencies = append(latencies, time.Since(sent[binary.BigEndian.Uint16(buf)]))
		rcodes[dns.RcodeToString[int(buf[3]&0xf)]]++
		if err := send(); err != nil {
			return latencies, rcodes, err
		}
	}
	return latencies, rcodes, nil
}

// residentMiB is the memory of a process, now or at its highest, in MiB.
func residentMiB(t *testing.T, pid int, field string) int {
	t.Helper()
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	must(t, err)
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			must(t, err)
			return kib >> 10
		}
	}
	t.Fatalf("no %s of process %d", field, pid)
	return 0
}

// shipped is podplane without the race detector, as it is shipped.
var shipped = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(filepath.Dir(podplane), "shipped")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	return mesh.Build(context.Background(), dir, false)
})

// startShipped is a DNS proxy as it is shipped.
func startShipped(t *testing.T, consul *consultest.Cluster, args ...string) *dnsProxy {
	t.Helper()
	binary, err := shipped()
	must(t, err)
	return startDNS(t, consul, dnsSpec{binary: binary, args: args})
}

// maxLoadMiB is what the process may take at its highest under a load.
const maxLoadMiB = 64

// TestDNSBurst asks 10,000 questions at once, each another one, of a proxy
// without a cache: every one of them must be answered by Consul, or with
// SERVFAIL where the machine has other work and the time of a query is not
// enough for all of them.
func TestDNSBurst(t *testing.T) {
	t.Parallel()
	consul := consultest.New(t, consultest.Options{})
	p := startShipped(t, consul, "-consul-dns-cache-size", "0")
	before := residentMiB(t, p.process.PID(), "VmRSS")
	for range 3 {
		o := volley{clients: 100, outstanding: 100, total: 10_000, distinct: true}.fire(t, p.addr)
		t.Log(o)
		if o.rcodes["NXDOMAIN"]+o.rcodes["SERVFAIL"] != 10_000 || o.rcodes["SERVFAIL"] > 0 && busyness(t) < busy {
			t.Errorf("not answered as Consul would: %v", o.rcodes)
		}
	}
	highest := residentMiB(t, p.process.PID(), "VmHWM")
	t.Logf("memory: %d MiB before, %d MiB at its highest", before, highest)
	if highest > maxLoadMiB {
		t.Errorf("took %d MiB, more than %d", highest, maxLoadMiB)
	}
	if n := p.metric(t.Context(), t, "podplane_dns_rejections_total"); n != 0 {
		t.Errorf("%v queries were rejected", n)
	}
}

// TestDNSDay asks as much as a pod with a query a second does in a day, with the
// scrapes of a day's hour: the memory at the end is that of the beginning.
func TestDNSDay(t *testing.T) {
	t.Parallel()
	const parts, growthMiB = 6, 8
	p := startShipped(t, consultest.New(t, consultest.Options{}))
	grown := []int{}
	for range parts {
		volley{clients: 20, outstanding: 5, total: 24 * 3600 / parts, distinct: true}.fire(t, p.addr)
		for range 240 / parts {
			p.metric(t.Context(), t, "podplane_dns")
		}
		grown = append(grown, residentMiB(t, p.process.PID(), "VmRSS"))
	}
	t.Logf("memory in MiB after each sixth of the day: %v", grown)
	if first, last := grown[0], grown[parts-1]; last > first+growthMiB {
		t.Errorf("grown from %d to %d MiB", first, last)
	}
	if n := p.metric(t.Context(), t, "podplane_dns_cache_entries"); n > 1000 {
		t.Errorf("%v answers kept, more than the setting's 1000", n)
	}
	if n := p.metric(t.Context(), t, "podplane_dns_queries_in_flight"); n != 0 {
		t.Errorf("%v queries in flight", n)
	}
}
