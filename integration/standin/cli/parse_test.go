// SPDX-License-Identifier: MPL-2.0

package cli_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	"go.uber.org/goleak"

	"podplane/integration/standin/cli"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParse(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args []string
		ok   func(cli.Options) bool
	}{
		"nothing":           {nil, func(o cli.Options) bool { return o.Mode == cli.ModeServe && o.DrainTime == 600*time.Second }},
		"short":             {[]string{"-c", "/dev/fd/3", "-l", "debug"}, func(o cli.Options) bool { return o.ConfigPath == "/dev/fd/3" && o.LogLevel == "debug" }},
		"long":              {[]string{"--config-path", "x.json"}, func(o cli.Options) bool { return o.ConfigPath == "x.json" }},
		"equals sign":       {[]string{"--config-path=a=b"}, func(o cli.Options) bool { return o.ConfigPath == "a=b" }},
		"space in argument": {[]string{"--concurrency 2"}, func(o cli.Options) bool { return o.Concurrency == 2 }},
		"value like a flag": {[]string{"--log-path", "--mode"}, func(o cli.Options) bool { return o.LogPath == "--mode" }},
		"empty value":       {[]string{"--config-yaml", ""}, func(o cli.Options) bool { return o.ConfigYAML == "" }},
		"drain":             {[]string{"--drain-time-s", "30", "--drain-strategy", "immediate"}, func(o cli.Options) bool { return o.DrainTime == 30*time.Second && o.DrainStrategy == "immediate" }},
		"switches":          {[]string{"--disable-hot-restart", "--allow-unknown-static-fields"}, func(o cli.Options) bool { return o.DisableHotRestart && o.AllowUnknownStaticFields }},
		"base id is scaled": {[]string{"--base-id", "3"}, func(o cli.Options) bool { return o.BaseID == 30 }},
		"no concurrency":    {[]string{"--concurrency", "0"}, func(o cli.Options) bool { return o.Concurrency == 1 }},
		"milliseconds":      {[]string{"--file-flush-interval-msec", "250"}, func(o cli.Options) bool { return o.FileFlushInterval == 250*time.Millisecond }},
		"warn is warning":   {[]string{"-l", "warn"}, func(o cli.Options) bool { return o.LogLevel == "warning" }},
		"components": {[]string{"--component-log-level", "upstream:debug,config:trace"}, func(o cli.Options) bool {
			return o.ComponentLevels["upstream"] == "debug" && o.ComponentLevels["config"] == "trace"
		}},
		"version ends it":     {[]string{"--version", "--nonsense"}, func(o cli.Options) bool { return o.Version }},
		"help":                {[]string{"-h"}, func(o cli.Options) bool { return o.Help }},
		"hot restart version": {[]string{"--hot-restart-version"}, func(o cli.Options) bool { return o.HotRestartVersion }},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, err := cli.Parse(tc.args)
			if err != nil {
				t.Fatalf("Parse(%q): %v", tc.args, err)
			}
			if !tc.ok(o) {
				t.Errorf("Parse(%q) = %+v", tc.args, o)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args []string
		want string
	}{
		"unknown":             {[]string{"--nonsense"}, "PARSE ERROR: Argument: --nonsense\n             Couldn't find match for argument"},
		"stray word":          {[]string{"serve"}, "Argument: serve"},
		"repeated":            {[]string{"-l", "info", "--log-level=debug"}, "Argument: -l (--log-level)\n             Argument already set!"},
		"repeated switch":     {[]string{"--disable-hot-restart", "--disable-hot-restart"}, "already set"},
		"no value":            {[]string{"--config-path"}, "Argument: -c (--config-path)\n             Missing a value for this argument!"},
		"value of a switch":   {[]string{"--disable-hot-restart=true"}, "Couldn't find match for argument"},
		"not a number":        {[]string{"--concurrency", "two"}, "Couldn't read argument value from string 'two'"},
		"negative":            {[]string{"--drain-time-s", "-1"}, "Couldn't read argument value from string '-1'"},
		"too big":             {[]string{"--base-id", "4294967296"}, "Couldn't read argument value"},
		"bad milliseconds":    {[]string{"--file-flush-interval-msec", "x"}, "Couldn't read argument value"},
		"mode":                {[]string{"--mode", "check"}, "error: unknown mode 'check'"},
		"level":               {[]string{"-l", "loud"}, "error: invalid log level specified 'loud'"},
		"strategy":            {[]string{"--drain-strategy", "slow"}, "'slow'"},
		"address family":      {[]string{"--local-address-ip-version", "v5"}, "error: unknown IP address version 'v5'"},
		"component form":      {[]string{"--component-log-level", "upstream"}, "error: component log level not correctly specified 'upstream'"},
		"component level":     {[]string{"--component-log-level", "upstream:loud"}, "error: invalid log level specified 'loud'"},
		"component name":      {[]string{"--component-log-level", "nobody:info"}, "error: invalid component specified 'nobody'"},
		"single dash is none": {[]string{"-config-path", "x"}, "Argument: -config-path"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := cli.Parse(tc.args)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("Parse(%q) = %v, want %q", tc.args, err, tc.want)
			}
			var usage *cli.UsageError
			var value *cli.ValueError
			if !errors.As(err, &usage) && !errors.As(err, &value) {
				t.Errorf("error is a %T", err)
			}
		})
	}
}

func TestProto(t *testing.T) {
	t.Parallel()
	o, err := cli.Parse([]string{"-c", "f.json", "--mode", "validate", "--drain-strategy", "immediate", "--local-address-ip-version", "v6", "--drain-time-s", "7"})
	if err != nil {
		t.Fatal(err)
	}
	p := o.Proto()
	if p.GetConfigPath() != "f.json" || p.GetMode() != adminv3.CommandLineOptions_Validate ||
		p.GetDrainStrategy() != adminv3.CommandLineOptions_Immediate || p.GetDrainTime().GetSeconds() != 7 ||
		p.GetLocalAddressIpVersion() != adminv3.CommandLineOptions_v6 {
		t.Errorf("Proto() = %v", p)
	}
	if err := p.Validate(); err != nil {
		t.Error(err)
	}
	o.Mode = cli.ModeInitOnly
	if o.Proto().GetMode() != adminv3.CommandLineOptions_InitOnly {
		t.Error("init_only is lost")
	}
}

func TestUsageNamesEveryOption(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := cli.Usage(&b); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"-c,  --config-path <value>", "--disable-hot-restart\n", "--drain-time-s", "-h,  --help"} {
		if !strings.Contains(b.String(), name) {
			t.Errorf("usage lacks %q", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("-c\n/dev/fd/3\n--log-level=debug\n--concurrency 2")
	f.Add("--component-log-level\na:b:c")
	f.Fuzz(func(t *testing.T, line string) {
		o, err := cli.Parse(strings.Split(line, "\n"))
		if err == nil && !o.Version && !o.Help && !o.HotRestartVersion && !slices.Contains(cli.Levels(), o.LogLevel) {
			t.Errorf("accepted level %q", o.LogLevel)
		}
	})
}
