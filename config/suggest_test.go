// SPDX-License-Identifier: MPL-2.0

package config

import "testing"

func TestDistance(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		a, b string
		want int
	}{
		"equal":   {"addresses", "addresses", 0},
		"empty":   {"", "abc", 3},
		"emptied": {"abc", "", 3},
		"insert":  {"adresses", "addresses", 1},
		"replace": {"mode", "node", 1},
		"swap":    {"grcp", "grpc", 1},
		"several": {"kitten", "sitting", 3},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := distance(tc.a, tc.b); got != tc.want {
				t.Errorf("distance %d, want %d", got, tc.want)
			}
		})
	}
}

func TestClosest(t *testing.T) {
	t.Parallel()
	candidates := []string{"mode", "grpc-port", "version"}
	for word, want := range map[string]string{"mdoe": "mode", "GRPC-Port": "grpc-port", "x": "", "": "", "something": ""} {
		if got := closest(word, candidates); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}
