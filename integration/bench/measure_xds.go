// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"podplane/integration/bench/consulend"
	"podplane/integration/bench/control"
	"podplane/integration/bench/envoyend"
	"podplane/integration/bench/report"
)

// xdsLoad is what is sent to Envoy.
type xdsLoad struct {
	size  int // bytes of a resource
	count int // responses in one run
	trips int // round trips in one run
}

// xdsRun is a dataplane that is under load.
type xdsRun struct {
	*site
	envoy *control.Peer
	load  xdsLoad
	pid   int

	// Where each way leads: straight to the server, through the program that only
	// copies, and, with no address, through the dataplane.
	straight, copied, proxied way
}

// way is the address that Envoy's stream leads to; "" is the dataplane's.
type way string

// run measures the ways in turn, and gives the medians.
func (l xdsLoad) run(ctx context.Context, b binary, sc scale) (values, error) {
	s, err := openSite(ctx, b, siteOptions{})
	if err != nil {
		return nil, err
	}
	defer s.close()
	l.count, l.trips = sc.count(l.count), sc.count(l.trips)
	r := xdsRun{site: s, load: l, pid: s.dataplane.PID()}
	if r.envoy, _, err = s.live(ctx); err != nil {
		return nil, err
	}
	copier, err := s.startCopier(ctx)
	if err != nil {
		return nil, err
	}
	r.straight, r.copied = way(s.servers[0].addr), way(copier)
	warm := r
	warm.load.count = max(l.count/10, 1)
	for _, w := range []way{r.straight, r.copied, r.proxied} {
		if _, err := warm.throughput(ctx, w); err != nil {
			return nil, err
		}
	}
	v := values{}
	if err := r.rates(ctx, v, l.name(), sc.repeats); err != nil {
		return v, err
	}
	// At once: later the runtime gives back what these runs have needed.
	resident, _, err := memory(r.pid)
	if err != nil {
		return v, err
	}
	v[l.name()+"_memory"] = resident
	return v, r.latencies(ctx, v, l.name(), sc.repeats)
}

// name is that of the scenario.
func (l xdsLoad) name() string {
	if l.size < 1<<20 {
		return fmt.Sprintf("xds%dk", l.size>>10)
	}
	return fmt.Sprintf("xds%dm", l.size>>20)
}

func (r xdsRun) rates(ctx context.Context, v values, name string, repeats int) error {
	mb := float64(r.load.size) * float64(r.load.count) / 1e6
	var direct, proxied, share, copied, cpu []float64
	for range repeats {
		straight, err := r.throughput(ctx, r.straight)
		if err != nil {
			return err
		}
		before, err := cpuTime(r.pid)
		if err != nil {
			return err
		}
		through, err := r.throughput(ctx, r.proxied)
		if err != nil {
			return err
		}
		after, err := cpuTime(r.pid)
		if err != nil {
			return err
		}
		mere, err := r.throughput(ctx, r.copied)
		if err != nil {
			return err
		}
		direct = append(direct, mb/straight.Seconds())
		proxied = append(proxied, mb/through.Seconds())
		share = append(share, straight.Seconds()/through.Seconds())
		copied = append(copied, straight.Seconds()/mere.Seconds())
		// The first message is not in the time, and is in this.
		cpu = append(cpu, (after-before).Seconds()*1e3/(mb*float64(r.load.count+1)/float64(r.load.count)))
	}
	v[name+"_direct"] = report.Median(direct)
	v[name+"_rate"] = report.Median(proxied)
	v[name+"_of_direct"] = report.Median(share)
	v[name+"_copied_of_direct"] = report.Median(copied)
	v[name+"_cpu"] = report.Median(cpu)
	return nil
}

func (r xdsRun) latencies(ctx context.Context, v values, name string, repeats int) error {
	var added, copied []float64
	for range repeats {
		straight, err := r.roundTrip(ctx, r.straight)
		if err != nil {
			return err
		}
		through, err := r.roundTrip(ctx, r.proxied)
		if err != nil {
			return err
		}
		mere, err := r.roundTrip(ctx, r.copied)
		if err != nil {
			return err
		}
		added = append(added, (through-straight)/1e3)
		copied = append(copied, (mere-straight)/1e3)
	}
	v[name+"_latency"] = report.Median(added)
	v[name+"_copied_latency"] = report.Median(copied)
	return nil
}

// order is the load for the Envoy end.
func (r xdsRun) order(w way, count int) envoyend.Load {
	return envoyend.Load{Count: count, Size: r.load.size, Within: step, Direct: string(w)}
}

// throughput gives how long the messages took.
func (r xdsRun) throughput(ctx context.Context, w way) (time.Duration, error) {
	var times envoyend.Times
	err := r.call(ctx, r.envoy, envoyend.CommandThroughput, r.order(w, r.load.count), &times)
	if err == nil && times.Took <= 0 {
		err = fmt.Errorf("%d messages took %d ns", r.load.count, times.Took)
	}
	return time.Duration(times.Took), err
}

// roundTrip gives the median of the round trips, in nanoseconds.
func (r xdsRun) roundTrip(ctx context.Context, w way) (float64, error) {
	var times envoyend.Times
	if err := r.call(ctx, r.envoy, envoyend.CommandRoundTrips, r.order(w, r.load.trips), &times); err != nil {
		return 0, err
	}
	if len(times.Trips) != r.load.trips {
		return 0, fmt.Errorf("%d of %d round trips", len(times.Trips), r.load.trips)
	}
	slices.Sort(times.Trips)
	return float64(times.Trips[len(times.Trips)/2]), nil
}

// measureUpdates sends clusters under a hundred names, again and again, as a mesh
// does in which pods come and go.
func measureUpdates(ctx context.Context, b binary, sc scale) (values, error) {
	s, err := openSite(ctx, b, siteOptions{})
	if err != nil {
		return nil, err
	}
	defer s.close()
	envoy, _, err := s.live(ctx)
	if err != nil {
		return nil, err
	}
	update := consulend.Update{Count: sc.updates, Size: 4 << 10, Names: 100}
	if err := s.call(ctx, s.servers[0].peer, consulend.CommandUpdate, update, nil); err != nil {
		return nil, err
	}
	last := envoyend.Expect{
		Type: consulend.ClusterType, Name: update.UpdateName(update.Count), Version: strconv.Itoa(update.Count), Within: step,
	}
	if err := s.call(ctx, envoy, envoyend.CommandAwait, last, nil); err != nil {
		return nil, err
	}
	resident, err := s.restingMemory(ctx, sc.idle)
	return values{"updates_memory": resident}, err
}
