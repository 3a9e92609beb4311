// SPDX-License-Identifier: MPL-2.0

package injector

import (
	"testing"

	"podplane/meshpod"
)

// BenchmarkMutate: 500 admissions a second must leave room for everything else.
func BenchmarkMutate(b *testing.B) {
	cfg := newConfig()
	cfg.Login = Login{AuthMethod: "podplane"}
	cfg.Consul.TLSDisabled, cfg.Consul.CA = false, testCA
	raw := encode(b, newPod(map[string]string{
		meshpod.AnnotationService: "web", meshpod.AnnotationUpstreams: "db:5432,cache:6379", meshpod.AnnotationMetrics: "true",
	}))
	b.ReportAllocs()
	for b.Loop() {
		r, err := Mutate(raw, testNamespace, &cfg)
		if err != nil || len(r.Patch) == 0 {
			b.Fatal(err, r.Refusal)
		}
	}
}
