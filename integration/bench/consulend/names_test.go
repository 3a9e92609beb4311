// SPDX-License-Identifier: MPL-2.0

package consulend

import "testing"

func TestNames(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		name            string
		pushCount, size int
		isPush, isEcho  bool
	}{
		"push":       {name: Push(3, 1024, 77), pushCount: 3, size: 1024, isPush: true},
		"echo":       {name: Echo(512, 77), size: 512, isEcho: true},
		"other":      {name: "web"},
		"no numbers": {name: "push a b"},
		"too large":  {name: Echo(maxBody+1, 1)},
		"negative":   {name: Push(-1, 1, 1)},
		"no echo":    {name: "echo x"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			count, size, isPush := parsePush(tt.name)
			if isPush != tt.isPush || isPush && (count != tt.pushCount || size != tt.size) {
				t.Errorf("push: %d of %d, %v", count, size, isPush)
			}
			size, isEcho := parseEcho(tt.name)
			if isEcho != tt.isEcho || isEcho && size != tt.size {
				t.Errorf("echo: of %d, %v", size, isEcho)
			}
		})
	}
	if got := (Update{Names: 100}).UpdateName(205); got != "update-5" {
		t.Errorf("update 205 is about %s", got)
	}
}
