// SPDX-License-Identifier: MPL-2.0

package injector

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"podplane/meshpod"
)

// many joins n elements, each with its number in it.
func many(n int, format string) string {
	elements := make([]string, 0, n)
	for i := range n {
		elements = append(elements, fmt.Sprintf(format, i))
	}
	return strings.Join(elements, ",")
}

// TestLargePods cost no more than the API server's limits make sensible: whoever
// may make a pod must not be able to take the companion's memory or processors.
func TestLargePods(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		annotations map[string]string
		containers  int
		want        string // in the refusal, or in the warning of a pod that is left alone
	}{
		"tags":      {map[string]string{meshpod.AnnotationTags: many(30000, "t%d")}, 1, `"30000 elements" are too many`},
		"services":  {map[string]string{meshpod.AnnotationService: many(30000, "s%d")}, 1, `"30000 elements" are too many`},
		"ports":     {map[string]string{meshpod.AnnotationServicePort: many(30000, "p%d")}, 1, `"30000 elements" are too many`},
		"volumes":   {map[string]string{meshpod.AnnotationMountVolume: many(30000, "c%d")}, 1, `"30000 elements" are too many`},
		"upstreams": {map[string]string{meshpod.AnnotationUpstreams: many(10000, "u:%d")}, 1, `"10000 elements" are too many`},
		"arguments": {map[string]string{meshpod.AnnotationExtraArgs: strings.Repeat("-l debug ", 10000)}, 1, `"20000 elements" are too many`},
		"variables": {map[string]string{meshpod.AnnotationUpstreams: many(200, "u%[1]d:3%03[1]d")}, 100, "would get 40400 variables"},
		"crowd":     {nil, 2000, `"2001 containers" are too many`},
		"long":      {map[string]string{"other": strings.Repeat("x", 256<<10)}, 1, "it is no pod that could run"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pod := newPod(tt.annotations)
			for i := range tt.containers {
				pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: fmt.Sprintf("c%d", i), Image: "i"})
			}
			cfg := newConfig()
			r, err := Mutate(encode(t, pod), testNamespace, &cfg)
			if said := r.Refusal + strings.Join(r.Warnings, "\n"); err != nil || len(r.Patch) > 0 || !strings.Contains(said, tt.want) {
				t.Errorf("%v, a patch of %d bytes, and %.300s", err, len(r.Patch), said)
			}
			if n := len(r.Refusal); n > 2*maxLine {
				t.Errorf("a refusal of %d bytes", n)
			}
		})
	}
}

// TestManyProblems are told as far as people read.
func TestManyProblems(t *testing.T) {
	t.Parallel()
	annotations := map[string]string{meshpod.AnnotationUpstreams: many(200, "u:x%d") + ",u:" + strings.Repeat("ü", 10000)}
	for i := range 100 {
		annotations[fmt.Sprintf("%sconnect-servic%d", meshpod.Prefix, i)] = "x"
	}
	cfg := newConfig()
	r, err := Mutate(encode(t, newPod(annotations)), testNamespace, &cfg)
	if err != nil || !strings.HasSuffix(r.Refusal, "; and 169 more") || strings.Count(r.Refusal, ";") != maxTold {
		t.Errorf("%v, %d bytes: %s", err, len(r.Refusal), r.Refusal)
	}
	if n := len(r.Warnings); n > maxTold+1 || !strings.Contains(r.Warnings[n-1], "84 more annotations") {
		t.Errorf("%d warnings, the last %q", n, r.Warnings[n-1])
	}
	r, err = Mutate(encode(t, newPod(map[string]string{meshpod.AnnotationUpstreams: "u:" + strings.Repeat("ü", 10000)})), testNamespace, &cfg)
	if err != nil || len(r.Refusal) > maxLine+100 {
		t.Errorf("%v, a refusal of %d bytes", err, len(r.Refusal))
	}
}
