// SPDX-License-Identifier: MPL-2.0

package servers

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckMetrics(t *testing.T) {
	t.Parallel()
	advice, err := CheckMetrics(t.Context(), strings.NewReader("# TYPE a counter\na 1\n"))
	if err != nil || !strings.Contains(advice, "_total") {
		t.Errorf("advice %q, %v", advice, err)
	}
	if _, err := CheckMetrics(t.Context(), strings.NewReader("a{ 1\n")); err == nil {
		t.Error("no error of a broken exposition")
	}
}

func TestCheckRules(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		expr string
		good bool
	}{"good": {"up == 0", true}, "bad": {"up ==", false}} {
		path := filepath.Join(t.TempDir(), "rules.yaml")
		write(t, path, "groups:\n- name: g\n  rules:\n  - alert: Down\n    expr: "+tt.expr+"\n    annotations: { summary: s }\n")
		if err := CheckRules(t.Context(), path); (err == nil) != tt.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}
