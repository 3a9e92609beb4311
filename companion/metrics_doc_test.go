// SPDX-License-Identifier: MPL-2.0

package companion

import (
	"flag"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"

	"podplane/integration/metricsdoc"
)

var update = flag.Bool("update", false, "rewrite the table of metrics in the reference")

// TestMetricsDocuments keeps the table of the reference equal to what webhook,
// certificates and registrar register. With -update it rewrites it.
func TestMetricsDocuments(t *testing.T) {
	t.Parallel()
	kube, path := newKubeAPI(t)
	kube.discovers("v1", "Pod", "Service", "Node")
	kube.discovers("discovery.k8s.io/v1", "EndpointSlice")
	o := options(path)
	o.Register = Register{} // the product's own
	o.Config.Registrar.ClusterName = "test"
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	_, registrar, err := c.register.manager(t.Context(), scheme)
	if err != nil {
		t.Fatal(err)
	}
	rows := metricsdoc.Rows(t, []metricsdoc.Row{
		{Name: "go_…", Help: "The Go runtime, as the collector of client_golang tells it."},
		{Name: "process_…", Help: "The process, as the collector of client_golang tells it."},
	}, c.registry, registrar)
	for _, r := range rows {
		if r.Help == "" || strings.HasPrefix(r.Name, "podplane_") && r.Kind != metricsdoc.Guess(r.Name) {
			t.Errorf("%s has no help, or is a %s and would be taken for a %s", r.Name, r.Kind, metricsdoc.Guess(r.Name))
		}
	}
	metricsdoc.Check(t, "../docs/reference/injector-metrics.md", rows, *update)
}
