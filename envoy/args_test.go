// SPDX-License-Identifier: MPL-2.0

package envoy

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestBuildArgs(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		cfg     Config
		want    string
		wantErr string
	}{
		"defaults": {
			want: "--log-level info --log-format F --disable-hot-restart --drain-time-s 0",
		},
		"all": {
			cfg: Config{LogLevel: "WARN", Concurrency: 2, DrainTime: 30 * time.Second, DrainStrategy: "immediate"},
			want: "--log-level warning --log-format F --disable-hot-restart --drain-time-s 30 --concurrency 2 " +
				"--drain-strategy immediate",
		},
		"two words": {
			cfg:  Config{ExtraArgs: []string{"--log-level", "trace"}},
			want: "--log-format F --disable-hot-restart --drain-time-s 0 --log-level trace",
		},
		"equals sign": {
			cfg:  Config{ExtraArgs: []string{"--log-level=trace", "--component-log-level=upstream:debug"}},
			want: "--log-format F --disable-hot-restart --drain-time-s 0 --log-level trace --component-log-level upstream:debug",
		},
		"short": {
			cfg:  Config{ExtraArgs: []string{"-l", "trace"}},
			want: "--log-format F --disable-hot-restart --drain-time-s 0 -l trace",
		},
		"short with equals sign": {
			cfg:  Config{ExtraArgs: []string{"-l=trace"}},
			want: "--log-format F --disable-hot-restart --drain-time-s 0 -l trace",
		},
		"switch and numbers": {
			cfg:  Config{Concurrency: 2, ExtraArgs: []string{"--concurrency", "8", "--disable-hot-restart", "--drain-time-s=1"}},
			want: "--log-level info --log-format F --concurrency 8 --disable-hot-restart --drain-time-s 1",
		},
		"overlay": {
			cfg:  Config{ExtraArgs: []string{"--config-yaml", "{a: b=c}"}},
			want: "--log-level info --log-format F --disable-hot-restart --drain-time-s 0 --config-yaml {a: b=c}",
		},
		"no value":         {cfg: Config{ExtraArgs: []string{"--log-level"}}, wantErr: "--log-level has no value"},
		"short, no value":  {cfg: Config{ExtraArgs: []string{"-l"}}, wantErr: "-l has no value"},
		"own config":       {cfg: Config{ExtraArgs: []string{"-c", "x"}}, wantErr: "--config-path is podplane's own"},
		"own config, long": {cfg: Config{ExtraArgs: []string{"--config-path=x"}}, wantErr: "--config-path is podplane's own"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args, err := tc.cfg.withDefaults().buildArgs()
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Errorf("error is %v, want %q in it", err, tc.wantErr)
				}
				return
			}
			got := strings.ReplaceAll(strings.Join(args, " "), logFormatText, "F")
			if err != nil || got != tc.want {
				t.Errorf("got  %s (%v)\nwant %s", got, err, tc.want)
			}
		})
	}
}

func TestLogFormats(t *testing.T) {
	t.Parallel()
	args, err := Config{LogJSON: true}.withDefaults().buildArgs()
	if err != nil || !slices.Contains(args, logFormatJSON) {
		t.Errorf("args are %q (%v)", args, err)
	}
	if strings.Contains(logFormatJSON, "%v") {
		t.Error("the message is not escaped in JSON")
	}
}

func FuzzBuildArgs(f *testing.F) {
	f.Add("--log-level=debug", "-l")
	f.Add("-c", "--=")
	f.Fuzz(func(t *testing.T, a, b string) {
		args, err := Config{ExtraArgs: []string{a, b}}.withDefaults().buildArgs()
		if err != nil {
			return
		}
		for _, forbidden := range []string{"-c", "--config-path"} {
			if slices.Contains(args, forbidden) {
				t.Errorf("%q and %q give %q", a, b, args)
			}
		}
	})
}
