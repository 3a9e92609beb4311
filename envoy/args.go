// SPDX-License-Identifier: MPL-2.0

package envoy

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The formats put Envoy's lines into the shape of podplane's own. Placeholders are spdlog's, plus Envoy's %j: the
// message, escaped for JSON.
// https://www.envoyproxy.io/docs/envoy/latest/operations/cli#cmdoption-log-format
const (
	logFormatText = `%Y-%m-%dT%T.%e%z [%l] envoy.%n(%t): %v`
	logFormatJSON = `{"@level":"%l","@message":"%j","@module":"envoy.%n","@timestamp":"%Y-%m-%dT%T.%f%z","thread":"%t"}`
)

// option is one option of Envoy's command line as podplane sets it.
type option struct {
	name  string // long form without dashes
	short string // one-letter form without the dash, if Envoy has one
	value string // empty for a switch
}

func (o option) args() []string {
	if o.value == "" {
		return []string{"--" + o.name}
	}
	return []string{"--" + o.name, o.value}
}

// logLevel translates a level of podplane's into one that Envoy takes.
func logLevel(level string) (string, error) {
	switch l := strings.ToLower(level); l {
	case "trace", "debug", "info", "error", "critical", "off":
		return l, nil
	case "warn", "warning":
		return "warning", nil
	default:
		return "", fmt.Errorf("unknown log level %q", level)
	}
}

// options are podplane's options without the one for the bootstrap.
func (c Config) options() ([]option, error) {
	level, err := logLevel(c.LogLevel)
	if err != nil {
		return nil, err
	}
	format := logFormatText
	if c.LogJSON {
		format = logFormatJSON
	}
	opts := []option{
		{name: "log-level", short: "l", value: level},
		{name: "log-format", value: format},
		{name: "disable-hot-restart"},
		{name: "drain-time-s", value: strconv.Itoa(int(c.DrainTime / time.Second))},
	}
	if c.Concurrency > 0 {
		opts = append(opts, option{name: "concurrency", value: strconv.Itoa(c.Concurrency)})
	}
	switch c.DrainStrategy {
	case "":
	case "gradual", "immediate":
		opts = append(opts, option{name: "drain-strategy", value: c.DrainStrategy})
	default:
		return nil, fmt.Errorf("unknown drain strategy %q", c.DrainStrategy)
	}
	return opts, nil
}

// equalsForm matches --name=value and -n=value.
var equalsForm = regexp.MustCompile(`(?s)^(--[a-zA-Z0-9][a-zA-Z0-9-]*|-[a-zA-Z])=(.*)$`)

// buildArgs joins podplane's options and the user's. Envoy refuses an option that is given twice, so one of ours goes
// when the user names it. Envoy's parser knows only `--name value`, so `--name=value` is split for it.
//
// A --config-path of the user's is refused: it would replace the bootstrap, and with it everything that connects this
// Envoy to Consul. --config-yaml is passed on, for Envoy merges it over the file.
func (c Config) buildArgs() ([]string, error) {
	opts, err := c.options()
	if err != nil {
		return nil, err
	}
	var extra []string
	for _, arg := range c.ExtraArgs {
		if m := equalsForm.FindStringSubmatch(arg); m != nil {
			extra = append(extra, m[1], m[2])
			continue
		}
		extra = append(extra, arg)
	}
	for i, arg := range extra {
		if arg == "-c" || arg == "--config-path" {
			return nil, errors.New("envoy argument --config-path is podplane's own: " +
				"use --config-yaml to merge settings over the bootstrap")
		}
		at := slices.IndexFunc(opts, func(o option) bool {
			return arg == "--"+o.name || (o.short != "" && arg == "-"+o.short)
		})
		if at < 0 {
			continue
		}
		if opts[at].value != "" && i+1 == len(extra) {
			return nil, fmt.Errorf("envoy argument %s has no value", arg)
		}
		opts = slices.Delete(opts, at, at+1)
	}
	var args []string
	for _, o := range opts {
		args = append(args, o.args()...)
	}
	return append(args, extra...), nil
}
