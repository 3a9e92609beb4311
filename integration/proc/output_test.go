// SPDX-License-Identifier: MPL-2.0

package proc

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOutputKeepsTheEnd(t *testing.T) {
	t.Parallel()
	var o output
	line := strings.Repeat("x", 1023) + "\n"
	for range 3 * keep / len(line) {
		if n, err := o.Write([]byte(line)); n != len(line) || err != nil {
			t.Fatalf("write: %d, %v", n, err)
		}
	}
	_, _ = o.Write([]byte("the end\n"))
	got := o.String()
	if len(got) < keep || len(got) > 2*keep {
		t.Errorf("%d bytes are kept, want %d to %d", len(got), keep, 2*keep)
	}
	if !strings.HasSuffix(got, "\nthe end\n") {
		t.Error("the end is lost")
	}
}

func TestTail(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		written string
		n       int
		want    string
	}{
		"nothing":       {"", 10, ""},
		"all":           {"one\ntwo\n", 8, "one\ntwo\n"},
		"from a line":   {"one\ntwo\nthree\n", 9, "three\n"},
		"line by line":  {"one\ntwo\nthree\n", 10, "two\nthree\n"},
		"one long line": {"abcdefgh\n", 3, "gh\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var o output
			_, _ = o.Write([]byte(tt.written))
			if got := o.tail(tt.n); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// A full disk must not end the process that is looked at.
func TestFailingLogFileIsSaidOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	o, err := openOutput(path)
	if err != nil {
		t.Fatal(err)
	}
	if o.file, err = os.Open(path); err != nil { // for reading: every write fails
		t.Fatal(err)
	}
	for range 2 {
		if n, err := o.Write([]byte("word\n")); n != 5 || err != nil {
			t.Errorf("write: %d, %v", n, err)
		}
	}
	o.close()
	if got := o.String(); strings.Count(got, "the log file ends here") != 1 || strings.Count(got, "word") != 2 {
		t.Errorf("output %q; want both words and one note", got)
	}
}
