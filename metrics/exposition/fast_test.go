// SPDX-License-Identifier: MPL-2.0

package exposition

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// variant returns a line that resembles others, and now and then is broken.
func variant(r *rand.Rand) string {
	pick := func(s ...string) string { return s[r.IntN(len(s))] }
	var b strings.Builder
	b.WriteString(pick("x_total", "x_total", "x", "y:z"))
	if r.IntN(10) > 0 {
		b.WriteByte('{')
		for i, name := range []string{"code", "handler", "a_label_with_a_long_name", "le"} {
			if r.IntN(8) == 0 {
				continue
			}
			if i > 0 && r.IntN(40) > 0 && !strings.HasSuffix(b.String(), "{") {
				b.WriteByte(',')
			}
			value := pick("", "200", "GET", "/a/rather/long/path", "ü", `\"\\\n`, strings.Repeat("12345678", r.IntN(3)), fmt.Sprint(r.IntN(5)))
			fmt.Fprintf(&b, "%s=\"%s\"", name, value)
		}
		b.WriteByte('}')
	}
	b.WriteString(pick(" ", " ", " ", " ", "", "  "))
	b.WriteString(pick("1", "12345678901", "-5", "1.5", "1e+06", "1e999", "NaN", "+Inf", "0.", ".", "x"))
	b.WriteString(pick("", "", "", " 1500", " ", " x"))
	line := []byte(b.String())
	if r.IntN(30) == 0 {
		line[r.IntN(len(line))] = pick("\"", "\\", "{", "}", ",", "=", " ", "\xff", "\x01", "7")[0]
	}
	return string(line)
}

// TestLinesInARow holds that a line is judged by itself: what the fast way makes
// of the lines before it never changes whether it is valid, how it is written,
// or whether its series has occurred before.
func TestLinesInARow(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	valid := 0
	for range 3000 {
		var lines []string
		var broken int // the first line that the parser refuses, from 1
		series := make(map[string]bool)
		for i := range 1 + r.IntN(12) {
			lines = append(lines, variant(r))
			p := parser{format: Text}
			var s sample
			if err := p.parse([]byte(lines[i]), &s); err != nil {
				broken = i + 1
				break
			}
			series[string(appendLabels(bytes.Clone(s.name), s.labels))] = true
		}
		text := strings.Join(lines, "\n") + "\n"
		e, err := Read(strings.NewReader(text), Text, Options{})
		if err != nil {
			if want := fmt.Sprintf("line %d:", broken); !strings.HasPrefix(err.Error(), want) {
				t.Fatalf("got %v, want %s in\n%s", err, want, text)
			}
			continue
		}
		if broken > 0 {
			t.Fatalf("line %d is taken in\n%s", broken, text)
		}
		valid++
		var out bytes.Buffer
		_, err = Merge(Text, Source{"a", e}).Write(&out)
		e.Close()
		if err != nil {
			t.Fatal(err)
		}
		if err := checkText(out.String()); err != nil {
			t.Fatalf("%v: from\n%s\nto\n%s", err, text, out.String())
		}
		got := 0
		for line := range strings.Lines(out.String()) {
			if line[0] != '#' {
				got++
			}
		}
		if got != len(series) {
			t.Fatalf("%d series of %d: from\n%s\nto\n%s", got, len(series), text, out.String())
		}
	}
	if valid < 300 {
		t.Errorf("only %d of the expositions were valid", valid)
	}
}
