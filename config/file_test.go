// SPDX-License-Identifier: MPL-2.0

package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestBadFiles(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		contents string
		want     []string
	}{
		"empty":            {"", []string{"is not JSON: unexpected end of JSON input"}},
		"syntax":           {"{\n  \"mode\": sidecar\n}", []string{"c.json:2:11: is not JSON: invalid character 's'"}},
		"cut off":          {`{"consul": {"grpcPort": 8`, []string{"is not JSON: unexpected end"}},
		"trailing garbage": {"{}\n\n x", []string{"c.json:3:2: is not JSON: invalid character 'x' after top-level value"}},
		"two objects":      {"{}{}", []string{"c.json:1:3: is not JSON"}},
		"not an object":    {"[]", []string{"c.json: must be a JSON object, not an array"}},
		"group is a text":  {`{"consul": "10.0.0.1"}`, []string{"c.json key consul: must be a JSON object, not a string"}},
		"setting is group": {`{"mode": {"a": 1}}`, []string{`c.json key mode: "{\"a\": 1}": must be a JSON string, not an object`}},
		"unknown group":    {`{"consol": {"grpcPort": 1}}`, []string{"key consol: unknown key; did you mean consul?"}},
		"wrong place":      {`{"envoy": {"grpcPort": 1}}`, []string{"key envoy.grpcPort: unknown key; did you mean consul.grpcPort?"}},
		"nothing alike":    {`{"zzzzzzzzzz": 1}`, []string{"key zzzzzzzzzz: unknown key"}},
		"odd key":          {`{"a b\n": 1}`, []string{`key "a b\n": unknown key`}},
		"long key":         {`{"` + strings.Repeat("k", 500) + `": 1}`, []string{"unknown key"}},
		"twice":            {`{"mode": "sidecar", "Mode": "dns-proxy"}`, []string{"key mode: is there twice"}},
		"number as text":   {`{"consul": {"grpcPort": "8502"}}`, []string{`key consul.grpcPort: "8502": must be a JSON number, not a string`}},
		"fraction":         {`{"consul": {"grpcPort": 85.5}}`, []string{`"85.5": must be a whole number from 1 to 65535`}},
		"out of range":     {`{"consul": {"grpcPort": 65536}}`, []string{"must be a whole number from 1 to 65535"}},
		"seconds as text":  {`{"envoy": {"drainTimeSeconds": "30s"}}`, []string{`"30s": must be a JSON number, not a string`}},
		"negative seconds": {`{"envoy": {"drainTimeSeconds": -1}}`, []string{`"-1": must be a whole number of seconds, 0 or more, without a unit`}},
		"switch as text":   {`{"logging": {"logJSON": "true"}}`, []string{`"true": must be true or false, not a string`}},
		"text as switch":   {`{"consul": {"addresses": true}}`, []string{"must be a JSON string, not a boolean"}},
		"duration":         {`{"telemetry": {"prometheus": {"retentionTime": true}}}`, []string{"must be a JSON string such as \"60s\" or a number of nanoseconds, not a boolean"}},
		"no duration":      {`{"telemetry": {"prometheus": {"retentionTime": 0}}}`, []string{`"0": must be a duration above 0`}},
		"bare duration":    {`{"telemetry": {"prometheus": {"retentionTime": "60"}}}`, []string{`"60": must be a duration above 0, such as "60s"`}},
		"meta as text":     {`{"consul": {"credentials": {"login": {"meta": "a=b"}}}}`, []string{"must be a JSON object of strings, not a string"}},
		"meta of numbers":  {`{"consul": {"credentials": {"login": {"meta": {"a": 1}}}}}`, []string{"must be a JSON object of strings"}},
		"meta without key": {`{"consul": {"credentials": {"login": {"meta": {"": "x"}}}}}`, []string{"with keys that are not empty"}},
		"list of numbers":  {`{"dnsServer": {"recursors": [1]}}`, []string{"must be a JSON string or an array of strings, not an array"}},
		"bad in list":      {`{"dnsServer": {"recursors": ["1.1.1.1", "dns.example"]}}`, []string{"must be a comma-separated list, each element an IP address"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := writeFile(t, "c.json", tc.contents)
			wantOne(t, problems(t, valid("-config-file="+file), nil), append(tc.want, "config file "+file)...)
		})
	}
}

func TestBadFilePath(t *testing.T) {
	t.Parallel()
	big := writeFile(t, "big.json", strings.Repeat(" ", maxFileSize+1))
	cases := map[string]struct{ path, want string }{
		"missing":      {"/nowhere/c.json", "cannot be read: no such file or directory"},
		"folder":       {filepath.Dir(writeFile(t, "c.json", "")) + "/../d.json/", "name ends in .json"},
		"other ending": {"/etc/hosts", "name ends in .json"},
		"too large":    {big, "is larger than 1048576 bytes"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantOne(t, problems(t, valid("-config-file", tc.path), nil), "flag -config-file", tc.want)
		})
	}
}

func TestFileForgives(t *testing.T) {
	t.Parallel()
	file := writeFile(t, "c.json", ` {"Consul": {"GRPCport": 1, "tls": null}, "logging": {"logLevel": ""}, "mode": null,
		"telemetry": {"prometheus": {"retentionTime": 9e10}}} `)
	c := mustLoad(t, valid("-config-file="+file), nil)
	if c.Consul.GRPCPort != 1 || c.Logging.Level != "info" || c.Mode != ModeSidecar || c.Telemetry.Prometheus.RetentionTime != 90*time.Second {
		t.Errorf("%+v", c)
	}
}

func TestFileThatIsSomethingElse(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&b, `,"some_key_%d": {}`, i)
	}
	got := problems(t, valid("-config-file="+writeFile(t, "c.json", "{"+b.String()[1:]+"}")), nil)
	if len(got) < 10 || len(got) > 2*maxFaults {
		t.Errorf("%d problems", len(got))
	}
}

// FuzzFile: whatever is in the file, Load ends, and with its own kind of error.
func FuzzFile(f *testing.F) {
	f.Add([]byte(`{"consul": {"grpcPort": 1, "credentials": {"static": {"token": "t"}}}, "mode": "sidecar"}`))
	f.Add([]byte(`{"telemetry": {"prometheus": {"retentionTime": 1e309, "serviceMetricsURL": ["http://a:b@c", ""]}}}`))
	f.Add([]byte(`{"consul":{"credentials":{"login":{"meta":{"a":null}}}},"dnsServer":{"recursors":["::1%x"]}} x`))
	f.Add([]byte(`{"a":{"a":[[[[]]]]},"a":1,"\ud800":2}`))
	f.Fuzz(func(t *testing.T, contents []byte) {
		l := newLoader(Settings())
		l.apply(l.parseFile("c.json", contents))
		l.adoptDeprecated()
		l.validate()
		_ = l.cfg.String()
		for _, p := range l.problems {
			if line := p.String(); p.Source == "" || p.Reason == "" || strings.ContainsAny(line, "\n\r\x1b") {
				t.Errorf("problem %q", line)
			}
		}
	})
}

func TestConfigFileIsAnError(t *testing.T) {
	t.Parallel()
	_, err := Load([]string{"-config-file=/nowhere/c.json", "-check-proxy-health"}, env{}.lookup)
	if all := new(Error); !errors.As(err, &all) || all.Problems[0].Setting != "config-file" {
		t.Errorf("error %v", err)
	}
}
