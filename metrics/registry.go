// SPDX-License-Identifier: MPL-2.0

package metrics

import (
	"cmp"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// BuildInfo says which build is running.
type BuildInfo struct {
	Version  string // such as 1.2.0
	Revision string // the commit it was built from
}

// NewRegistry returns the registry of the sidecar's own metrics, with build
// information and the collectors of the Go runtime and of the process in it.
//
// Those two carry the prefix podplane_ (podplane_go_goroutines,
// podplane_process_resident_memory_bytes): under their usual names they would
// be the same series as those of an application written in Go, and one of the
// two would have to be dropped from every merged scrape.
func NewRegistry(build BuildInfo) *prometheus.Registry {
	reg := prometheus.NewRegistry()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "podplane_build_info",
		Help: "Always 1; the labels say which build of podplane is running.",
		ConstLabels: prometheus.Labels{
			"version":    cmp.Or(build.Version, "unknown"),
			"revision":   cmp.Or(build.Revision, "unknown"),
			"go_version": runtime.Version(),
		},
	})
	info.Set(1)
	reg.MustRegister(info)
	prometheus.WrapRegistererWithPrefix("podplane_", reg).MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return reg
}
