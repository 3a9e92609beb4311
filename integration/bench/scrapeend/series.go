// SPDX-License-Identifier: MPL-2.0

package scrapeend

import (
	"bytes"
	"fmt"
)

// The metrics of a busy pod: 250,000 series in 2,200 families.
const (
	ApplicationSeries = 200_000
	EnvoySeries       = 50_000

	perApplicationFamily = 118
	perEnvoyFamily       = 100
)

// Application is an exposition of n series. Labels are sorted, as client
// libraries do.
func Application(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		f, s := i/perApplicationFamily, i%perApplicationFamily
		if s == 0 {
			fmt.Fprintf(&b, "# HELP app_%d_total Requests that the handler number %d has answered.\n# TYPE app_%d_total counter\n", f, f, f)
		}
		fmt.Fprintf(&b, "app_%d_total{code=\"%d\",handler=\"/api/v1/%d\",method=\"%s\"} %d\n",
			f, 200+s%3, s/6, [...]string{"GET", "POST"}[s/3%2], s*f*7919)
	}
	return b.Bytes()
}

// Envoy is an exposition of n series as Envoy writes it: without HELP, and labels
// in Envoy's own order.
func Envoy(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		f, s := i/perEnvoyFamily, i%perEnvoyFamily
		if s == 0 {
			fmt.Fprintf(&b, "# TYPE envoy_cluster_rq_%d counter\n", f)
		}
		fmt.Fprintf(&b, "envoy_cluster_rq_%d{local_cluster=\"web\",envoy_cluster_name=\"api_%d\"} %d\n", f, s, s*f)
	}
	return b.Bytes()
}
