// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"slices"
	"time"

	"podplane/integration/bench/report"
)

// values are what one round has measured, by the measures' IDs.
type values map[string]float64

// measure is one line of the table.
type measure struct {
	id, title, unit string
	digits          int
	limit           *report.Limit
}

// scenario is one way of running a dataplane, in which some measures are taken.
type scenario struct {
	id       string
	rounds   int
	measures []measure
	// run is one round for one binary. What it gives beside an error counts.
	run func(ctx context.Context, b binary, s scale) (values, error)
}

// scale says how much work a round is.
type scale struct {
	idle    time.Duration // how long a dataplane is left alone before its memory is read
	grace   int           // the grace period of a shutdown, in seconds
	updates int
	divisor int // of the numbers of messages
	scrapes int
	repeats int // of proxied and direct runs in one round
}

func fullScale() scale {
	return scale{idle: 5 * time.Second, grace: 10, updates: 10_000, divisor: 1, scrapes: 5, repeats: 3}
}

func quickScale() scale {
	return scale{idle: 200 * time.Millisecond, grace: 2, updates: 500, divisor: 20, scrapes: 1, repeats: 1}
}

// count is a number of messages at this scale.
func (s scale) count(n int) int { return max(n/s.divisor, 5) }

// scenarios are in the order of the table. The limits are what podplane promises;
// they are for a full run on two cores that have nothing else to do.
func scenarios() []scenario {
	return slices.Concat([]scenario{
		{id: "size", rounds: 1, run: measureSize, measures: []measure{
			{id: "binary_size", title: "binary", unit: "MB", digits: 2, limit: report.AtMost(15)},
		}},
		{id: "start", rounds: 15, run: measureStart, measures: []measure{
			{id: "start_to_live", title: "start to Envoy LIVE", unit: "ms"},
		}},
		{id: "idle", rounds: 5, run: measureIdle, measures: []measure{
			{id: "idle_memory", title: "idle: resident memory", unit: "MiB", digits: 1},
		}},
	}, xdsScenarios(), []scenario{
		{id: "updates", rounds: 5, run: measureUpdates, measures: []measure{
			{id: "updates_memory", title: "after 10,000 updates of 4 KiB: resident memory", unit: "MiB", digits: 1},
		}},
		{id: "scrape", rounds: 5, run: measureScrape, measures: []measure{
			{id: "scrape_time", title: "scrape of 250,000 series, merged", unit: "ms"},
			{id: "scrape_raw", title: "the same, copied raw", unit: "ms"},
			{id: "scrape_ratio", title: "merged / raw", unit: "", digits: 2, limit: report.AtMost(1.5)},
			{id: "scrape_memory", title: "the scrapes' highest memory above idle", unit: "MiB", digits: 1, limit: report.AtMost(24)},
		}},
		{id: "job", rounds: 5, run: measureJob, measures: []measure{
			{id: "job_end", title: "Job: /graceful_shutdown to exit, 10 s of grace", unit: "ms", limit: report.AtMost(1000)},
		}},
		{id: "crash", rounds: 7, run: measureCrash, measures: []measure{
			{id: "crash_to_live", title: "Envoy crash to LIVE", unit: "ms"},
		}},
		{id: "alone", rounds: 7, run: measureCrashAlone, measures: []measure{
			{id: "crash_alone_to_live", title: "the same while no server answers", unit: "ms", limit: report.AtMost(1000)},
		}},
		{id: "loss", rounds: 9, run: measureLoss, measures: []measure{
			{id: "loss_to_update", title: "server killed to next update, from another", unit: "ms", limit: report.AtMost(1000)},
		}},
	})
}

// xdsScenarios differ by the size of messages.
func xdsScenarios() []scenario {
	sizes := []struct {
		id, title          string
		load               xdsLoad
		ofDirect, cpu, p50 *report.Limit
		resident           *report.Limit
	}{
		{
			id: "xds1k", title: "xDS, 1 KiB", load: xdsLoad{size: 1 << 10, count: 20_000, trips: 2_000},
			ofDirect: report.AtLeast(0.5), cpu: report.AtMost(12), p50: report.AtMost(100),
		},
		{
			id: "xds64k", title: "xDS, 64 KiB", load: xdsLoad{size: 64 << 10, count: 2_000, trips: 500},
			ofDirect: report.AtLeast(0.5), cpu: report.AtMost(4),
		},
		{
			id: "xds4m", title: "xDS, 4 MiB", load: xdsLoad{size: 4 << 20, count: 48, trips: 20},
			ofDirect: report.AtLeast(0.55), cpu: report.AtMost(1.3), resident: report.AtMost(45),
		},
	}
	var all []scenario
	for _, size := range sizes {
		all = append(all, scenario{id: size.id, rounds: 5, run: size.load.run, measures: []measure{
			{id: size.id + "_rate", title: size.title + ": throughput", unit: "MB/s"},
			{id: size.id + "_direct", title: size.title + ": the same without a dataplane", unit: "MB/s"},
			{id: size.id + "_of_direct", title: size.title + ": proxied / direct", digits: 2, limit: size.ofDirect},
			{id: size.id + "_copied_of_direct", title: size.title + ": that of a mere copier of bytes", digits: 2},
			{id: size.id + "_cpu", title: size.title + ": CPU of the dataplane", unit: "ms/MB", digits: 2, limit: size.cpu},
			{id: size.id + "_memory", title: size.title + ": resident memory right after", unit: "MiB", digits: 1, limit: size.resident},
			{id: size.id + "_latency", title: size.title + ": added latency, median", unit: "µs", limit: size.p50},
			{id: size.id + "_copied_latency", title: size.title + ": that of a mere copier of bytes", unit: "µs"},
		}})
	}
	return all
}
