// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

import (
	"slices"
	"testing"
)

func TestFixedTags(t *testing.T) {
	t.Parallel()
	cfg := testConfig()
	p := testParams(map[string]any{keyStatsTags: []any{"team=a", "local_cluster=mine", "canary"}})
	p.Service, p.Identity = "web", ""
	got, err := FixedTags(cfg, p)
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range []string{"team:a", "local_cluster:mine", "canary:1", "consul.source.service:web"} {
		if !slices.Contains(got, tag) {
			t.Errorf("%q is missing in %q", tag, got)
		}
	}
	if slices.Contains(got, "local_cluster:web") {
		t.Errorf("the operator's tag is doubled in %q", got)
	}
	cfg.UseCentralConfig = false
	if got, err := FixedTags(cfg, p); err != nil || got != nil {
		t.Errorf("central config off: %q, %v", got, err)
	}
	cfg.UseCentralConfig = true
	_, err = FixedTags(cfg, testParams(map[string]any{keyStatsdURL: "x"}))
	wantError(t, err, keyStatsdURL)
}
