// SPDX-License-Identifier: MPL-2.0

package injector

import (
	"encoding/json"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"podplane/meshpod"
)

// TestDefaultsAreNoted reads a pod as a registrar does that was started with
// other defaults than those of the pod's admission: what its dataplane binds is
// what it was told then.
func TestDefaultsAreNoted(t *testing.T) {
	t.Parallel()
	cfg := newConfig()
	cfg.Defaults = meshpod.Standard()
	cfg.Defaults.Metrics, cfg.Defaults.ScrapePort = true, 20222
	later := meshpod.Standard()
	later.Metrics, later.ProxyHealthCheck = false, false
	later.ScrapePort, later.MergePort, later.GracefulPort = 9100, 9101, 9102
	for name, annotations := range map[string]map[string]string{
		"nothing said":  nil,
		"port given":    {meshpod.AnnotationScrapePort: "20333"},
		"switched off":  {meshpod.AnnotationMetrics: "false"},
		"two services":  {meshpod.AnnotationService: "web,admin", meshpod.AnnotationServicePort: "8080,9090"},
		"port of later": {meshpod.AnnotationServicePort: "9102"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw := encode(t, newPod(annotations))
			r, err := Mutate(raw, testNamespace, &cfg)
			if err != nil || r.Refusal != "" {
				t.Fatal(err, r.Refusal)
			}
			var before, after corev1.Pod
			if err := json.Unmarshal(raw, &before); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(apply(t, raw, r), &after); err != nil {
				t.Fatal(err)
			}
			want, _ := meshpod.Parse(&before, cfg.Defaults)
			got, problems := meshpod.Parse(&after, later)
			if err := problems.Err(); err != nil {
				t.Fatal(err)
			}
			for i, s := range want.Services {
				if !reflect.DeepEqual(s.Ports, got.Services[i].Ports) || want.PrometheusBindAddr(s) != got.PrometheusBindAddr(got.Services[i]) {
					t.Errorf("service %d was told %+v %s, and is registered with %+v %s", i,
						s.Ports, want.PrometheusBindAddr(s), got.Services[i].Ports, got.PrometheusBindAddr(got.Services[i]))
				}
			}
			for name, value := range before.Annotations {
				if after.Annotations[name] != value {
					t.Errorf("%s was %q and is %q", name, value, after.Annotations[name])
				}
			}
		})
	}
}
