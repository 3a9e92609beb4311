// SPDX-License-Identifier: MPL-2.0

package xdsbench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"podplane/xdsproxy"
)

// child is a role in a process of its own.
type child struct {
	b     testing.TB
	in    io.WriteCloser
	lines *bufio.Scanner
	addr  string
}

func start(b testing.TB, role string) *child {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVar+"="+role)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	c := &child{b: b, in: in, lines: bufio.NewScanner(out)}
	b.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	c.addr = c.line()
	return c
}

func (c *child) line() string {
	c.b.Helper()
	if !c.lines.Scan() {
		c.b.Fatal("a role ended early")
	}
	return c.lines.Text()
}

// usage gives the CPU time so far and the resident memory in MiB.
func (c *child) usage() (cpu time.Duration, mib float64) {
	c.b.Helper()
	if _, err := fmt.Fprintln(c.in, "usage"); err != nil {
		c.b.Fatal(err)
	}
	var us, kib int64
	if _, err := fmt.Sscan(c.line(), &us, &kib); err != nil {
		c.b.Fatal(err)
	}
	return time.Duration(us) * time.Microsecond, float64(kib) / 1024
}

// runs makes the names of each run its own: what an earlier run was sent, the
// proxy would give again by itself.
var runs atomic.Int64

// receive subscribes at addr, takes count responses of size bytes and answers
// each. It gives how long that took from the first response on.
func receive(b testing.TB, addr string, count, size int) time.Duration {
	b.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30)))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	ctx := metadata.AppendToOutgoingContext(context.Background(), xdsproxy.SecretKey, secret)
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		b.Fatal(err)
	}
	request := &discoveryv3.DeltaDiscoveryRequest{
		TypeUrl: clusterV3, ResourceNamesSubscribe: []string{fmt.Sprintf("%d*%d run %d", count+1, size, runs.Add(1))},
	}
	if err := stream.Send(request); err != nil {
		b.Fatal(err)
	}
	var began time.Time
	for i := range count + 1 {
		r, err := stream.Recv()
		if err != nil {
			b.Fatal(err)
		}
		if i == 0 {
			began = time.Now()
		}
		if err := stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: clusterV3, ResponseNonce: r.GetNonce()}); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(began)
}

// BenchmarkThroughput sends the same bytes both ways, in turn, and reports the
// medians: proxied/direct, the proxy's CPU time, its memory after the last run.
func BenchmarkThroughput(b *testing.B) {
	for _, c := range []struct {
		name        string
		size, count int
	}{
		{"1KiB", 1 << 10, 20_000},
		{"64KiB", 64 << 10, 2_000},
		{"4MiB", 4 << 20, 48},
	} {
		b.Run(c.name, func(b *testing.B) {
			server := start(b, "server")
			between := start(b, "proxy "+server.addr)
			mb := float64(c.size) * float64(c.count) / 1e6
			var ratios, cpus, rates []float64
			for b.Loop() {
				direct := receive(b, server.addr, c.count, c.size)
				before, _ := between.usage()
				proxied := receive(b, between.addr, c.count, c.size)
				after, _ := between.usage()
				ratios = append(ratios, float64(direct)/float64(proxied))
				rates = append(rates, mb/proxied.Seconds())
				cpus = append(cpus, float64((after-before).Microseconds())/1e3/mb)
			}
			_, mib := between.usage()
			b.ReportMetric(median(ratios), "of-direct")
			b.ReportMetric(median(rates), "MB/s")
			b.ReportMetric(median(cpus), "cpu-ms/MB")
			b.ReportMetric(mib, "MiB-resident")
		})
	}
}

// BenchmarkLatency sends one response at a time and reports the median of what
// the proxy adds to the way there and back.
func BenchmarkLatency(b *testing.B) {
	server := start(b, "server")
	between := start(b, "proxy "+server.addr)
	const count = 2_000
	var added []float64
	for b.Loop() {
		direct := median(roundTrips(b, server.addr, count))
		added = append(added, median(roundTrips(b, between.addr, count))-direct)
	}
	b.ReportMetric(median(added), "added-us")
}

// roundTrips asks for one small response at a time, count times, and gives how
// long each took, in microseconds.
func roundTrips(b testing.TB, addr string, count int) []float64 {
	b.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	ctx := metadata.AppendToOutgoingContext(context.Background(), xdsproxy.SecretKey, secret)
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		b.Fatal(err)
	}
	send := func(r *discoveryv3.DeltaDiscoveryRequest) {
		r.TypeUrl = clusterV3
		if err := stream.Send(r); err != nil {
			b.Fatal(err)
		}
	}
	send(&discoveryv3.DeltaDiscoveryRequest{ResourceNamesSubscribe: []string{fmt.Sprintf("%s %d", echoName, runs.Add(1))}})
	took := make([]float64, 0, count)
	for range count {
		began := time.Now()
		r, err := stream.Recv()
		if err != nil {
			b.Fatal(err)
		}
		send(&discoveryv3.DeltaDiscoveryRequest{ResponseNonce: r.GetNonce()})
		took = append(took, float64(time.Since(began).Nanoseconds())/1e3)
	}
	return took
}

func median(v []float64) float64 {
	sorted := slices.Sorted(slices.Values(v))
	return sorted[len(sorted)/2]
}

// TestRolesAgree runs each measurement once, in small: what a benchmark compares
// must work.
func TestRolesAgree(t *testing.T) {
	t.Parallel()
	server := start(t, "server")
	between := start(t, "proxy "+server.addr)
	for _, addr := range []string{server.addr, between.addr} {
		if took := receive(t, addr, 100, 4<<10); took <= 0 {
			t.Errorf("100 messages in %s", took)
		}
		if trips := roundTrips(t, addr, 10); len(trips) != 10 {
			t.Errorf("%d of 10 round trips", len(trips))
		}
	}
	if cpu, mib := between.usage(); cpu <= 0 || mib <= 0 {
		t.Errorf("the proxy used %s and %v MiB", cpu, mib)
	}
}
