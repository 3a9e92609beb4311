// SPDX-License-Identifier: MPL-2.0

package envoy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxStatLine bounds one line of /stats; Envoy's longest names stay far below it.
const maxStatLine = 64 << 10

// Activity is what goes on in Envoy's own listeners, without the admin listener and the ignored ones.
type Activity struct {
	// Connections are the downstream connections that are open.
	Connections int `json:"connections"`
	// HTTPConnections are those of them that an HTTP connection manager has.
	HTTPConnections int `json:"http_connections"`
	// Requests are the HTTP requests in flight, upgraded connections and gRPC streams among them.
	Requests int `json:"requests"`
}

// InFlight is how much would be cut off by ending Envoy now: requests in flight, and connections other than HTTP, for
// nothing tells whether those are in use. An HTTP connection that a client merely keeps for later costs nobody
// anything.
func (a Activity) InFlight() int { return a.Requests + max(0, a.Connections-a.HTTPConnections) }

// activityFilter selects on Envoy's side the few gauges that count.
const activityFilter = `^(listener|http)\..*\.downstream_(cx|rq)_active$`

// Activity reads the gauges that tell what is in flight.
func (a *Admin) Activity(ctx context.Context) (Activity, error) {
	var activity Activity
	err := a.stats(ctx, activityFilter, func(name string, value int64) {
		a.traffic.add(&activity, name, int(value))
	})
	if err != nil {
		return Activity{}, err
	}
	return activity, nil
}

// Accepted tells whether Envoy has accepted clusters and listeners from the control plane at least once. A rejected
// first configuration leaves them false.
type Accepted struct {
	Clusters  bool `json:"clusters"`
	Listeners bool `json:"listeners"`
}

// Accepted reads from the statistics what the control plane's configuration came to.
func (a *Admin) Accepted(ctx context.Context) (Accepted, error) {
	var accepted Accepted
	const filter = `^(cluster_manager\.cds|listener_manager\.lds)\.update_success$`
	err := a.stats(ctx, filter, func(name string, value int64) {
		switch name {
		case "cluster_manager.cds.update_success":
			accepted.Clusters = value > 0
		case "listener_manager.lds.update_success":
			accepted.Listeners = value > 0
		}
	})
	if err != nil {
		return Accepted{}, err
	}
	return accepted, nil
}

// stats calls add for each counter and gauge that matches the filter, a regular expression, and has been used.
func (a *Admin) stats(ctx context.Context, filter string, add func(name string, value int64)) error {
	path := "/stats?usedonly&filter=" + url.QueryEscape(filter)
	return a.get(ctx, path, func(body io.Reader) error { return parseStats(body, add) })
}

// parseStats reads "name: value" lines. Lines whose value is no whole number (histograms, text) are skipped.
func parseStats(r io.Reader, add func(name string, value int64)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4096), maxStatLine)
	for lines.Scan() {
		// The value comes last; a name may contain ": " itself.
		line := lines.Text()
		at := strings.LastIndex(line, ": ")
		if at < 0 {
			continue
		}
		value, err := strconv.ParseInt(strings.TrimSpace(line[at+2:]), 10, 64)
		if err != nil {
			continue
		}
		add(line[:at], value)
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read statistics: %w", err)
	}
	return nil
}

// activityCounter sorts the gauges.
type activityCounter struct {
	names      map[string]bool // stat prefixes of HTTP listeners that are ignored
	beginnings []string        // of such
}

func newActivityCounter(ignore []string) activityCounter {
	c := activityCounter{names: make(map[string]bool)}
	for _, prefix := range ignore {
		name := statName(prefix)
		if strings.HasSuffix(name, ".") {
			c.beginnings = append(c.beginnings, name)
		} else {
			c.names[name] = true
		}
	}
	return c
}

// ignored tells whether a stat prefix is one of a listener that does not count.
func (c activityCounter) ignored(prefix string) bool {
	return c.names[prefix] ||
		slices.ContainsFunc(c.beginnings, func(b string) bool { return strings.HasPrefix(prefix, b) })
}

// adminPrefix is what the statistics of the admin listener begin with. They are apart from those of other listeners.
const adminPrefix = "admin"

// statName is the form that a stat prefix takes in a statistic's name.
func statName(s string) string { return strings.ReplaceAll(s, ":", "_") }

// add counts one gauge.
func (c activityCounter) add(activity *Activity, name string, value int) {
	if value <= 0 {
		return
	}
	kind, rest, _ := strings.Cut(name, ".")
	dot := strings.LastIndexByte(rest, '.')
	if dot < 0 {
		return
	}
	prefix, gauge := rest[:dot], rest[dot+1:]
	connections := gauge == "downstream_cx_active"
	switch {
	case prefix == adminPrefix:
	case kind == "listener" && connections && !isThread(prefix): // they are counted once more by thread
		activity.Connections += value
	case kind == "http" && connections && c.ignored(prefix):
		activity.Connections -= value // the listener's name is its address, which only Envoy knows for sure
	case kind == "http" && connections:
		activity.HTTPConnections += value
	case kind == "http" && gauge == "downstream_rq_active" && !c.ignored(prefix):
		activity.Requests += value
	}
}

// isThread tells whether a listener's prefix ends in the name of a thread: worker_0, main_thread.
func isThread(prefix string) bool {
	last := prefix[strings.LastIndexByte(prefix, '.')+1:]
	number, isWorker := strings.CutPrefix(last, "worker_")
	if isWorker {
		_, err := strconv.ParseUint(number, 10, 32)
		return err == nil
	}
	return last == "main_thread"
}
