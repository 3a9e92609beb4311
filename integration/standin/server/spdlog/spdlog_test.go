// SPDX-License-Identifier: MPL-2.0

package spdlog

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPattern(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, time.March, 4, 15, 6, 7, 89_000_123, time.UTC)
	tests := map[string]string{
		"%Y-%m-%dT%T.%e":      "2026-03-04T15:06:07.089",
		"%f %F %E":            "089000 089000123 1772636767",
		"[%l][%L][%n]":        "[warning][W][main]",
		"%v":                  "a \"b\"\nc",
		"%_":                  `a "b"\nc`,
		"%j":                  `a \"b\"\nc`,
		"%%%":                 "%%",
		"%9l|%-9l|%=9l|%3!l":  "  warning|warning  | warning |war",
		"%3l":                 "warning",
		"[%g:%#]%^%$":         "[:]",
		"%z %a %A %b %B":      "+00:00 Wed Wednesday Mar March",
		"%I %p %R %D %C":      "03 PM 15:06 03/04/26 26",
		"%q":                  "%q",
		"%-q":                 "%-q",
		"":                    "",
		"plain":               "plain",
		"%Y%":                 "2026%",
		`{"m":"%j","l":"%l"}`: `{"m":"a \"b\"\nc","l":"warning"}`,
	}
	for format, want := range tests {
		got := compile(format).format(record{at: at, level: "warning", component: "main", message: "a \"b\"\nc"})
		if got != want {
			t.Errorf("%q = %q, want %q", format, got, want)
		}
	}
	if got := compile("%t").format(record{}); !regexp.MustCompile(`^\d+$`).MatchString(got) {
		t.Errorf("%%t = %q", got)
	}
}

func TestJSONFormat(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	logs := New(Config{Output: &out, Format: `{"time":"%Y-%m-%dT%T.%e%z","level":"%l","name":"%n","msg":"%j"}`, Level: "info"})
	logs.Logger("upstream").Warn("it's \"bad\" <&>", "name", "a b", "n", 3, "formatted", hclog.Fmt("%02d", 7))
	var line map[string]string
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%q: %v", out.String(), err)
	}
	if want := `it's "bad" <&> name="a b" n=3 formatted=07`; line["msg"] != want || line["level"] != "warning" || line["name"] != "upstream" {
		t.Errorf("line = %v, want the message %s", line, want)
	}
}

func TestLevels(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	logs := New(Config{
		Output: &out, Format: "%n %l %v", Level: "warning", Levels: map[string]string{"upstream": "trace"},
		Components: []string{"main", "upstream"},
	})
	logs.Logger("main").Info("hidden")
	logs.Logger("upstream").Trace("shown")
	logs.Logger("other").Debug("hidden too")
	logs.Critical("main", "always")
	if got, want := out.String(), "upstream trace shown\nmain critical always\n"; got != want {
		t.Fatalf("log = %q, want %q", got, want)
	}
	if err := logs.Set(map[string]string{"main": "info", "nobody": "info"}); err == nil || logs.Levels()["main"] != "warning" {
		t.Errorf("Set with an unknown name: %v, levels %v", err, logs.Levels())
	}
	if err := logs.Set(map[string]string{"main": "loud"}); err == nil {
		t.Error("Set took a level that does not exist")
	}
	if err := logs.SetAll("loud"); err == nil {
		t.Error("SetAll took a level that does not exist")
	}
	if err := logs.Set(map[string]string{"main": "debug"}); err != nil || logs.Levels()["main"] != "debug" || logs.Levels()["upstream"] != "trace" {
		t.Errorf("Set: %v, levels %v", err, logs.Levels())
	}
	out.Reset()
	if err := logs.SetAll("off"); err != nil {
		t.Fatal(err)
	}
	logs.Critical("main", "nothing")
	logs.Logger("other").Error("nothing")
	if out.Len() != 0 {
		t.Errorf("log is off and says %q", out.String())
	}
}

func TestEscapedAndUnknownLevel(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	logs := New(Config{Output: &out, Format: "%v", Escape: true, Level: "loud"})
	logs.Logger("main").Info("two\nlines")
	logs.Logger("main").Debug("hidden")
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `two\nlines`) {
		t.Errorf("log = %q", got)
	}
}

func FuzzCompile(f *testing.F) {
	f.Add("%999!l%-=%")
	f.Fuzz(func(_ *testing.T, format string) {
		compile(format).format(record{level: "info"})
	})
}
