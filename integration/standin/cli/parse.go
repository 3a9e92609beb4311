// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// UsageError is a command line that Envoy's parser refuses. Its text is what
// Envoy prints.
type UsageError struct {
	Argument string // the argument as TCLAP names it
	Reason   string
}

// Error gives TCLAP's text, over several lines.
func (e *UsageError) Error() string {
	return fmt.Sprintf("PARSE ERROR: Argument: %s\n             %s\n\nBrief USAGE: \n   envoy  [--OPTION VALUE] ...\n\n"+
		"For complete USAGE and HELP type: \n   envoy --help\n", e.Argument, e.Reason)
}

// ValueError is an option whose value has the right form but no meaning to Envoy.
type ValueError struct{ Text string }

// Error gives Envoy's text.
func (e *ValueError) Error() string { return e.Text }

// Levels lists the log levels as spdlog spells them, from the most talkative.
func Levels() []string {
	return []string{"trace", "debug", "info", "warning", "error", "critical", "off"}
}

// Level gives spdlog's spelling of a level ("warn" is accepted for "warning")
// and whether there is one of that name.
func Level(name string) (string, bool) {
	if name == "warn" {
		name = "warning"
	}
	return name, slices.Contains(Levels(), name)
}

// Parse reads a command line without the program's name. The error is a
// [*UsageError] or a [*ValueError].
func Parse(args []string) (Options, error) {
	p := parser{options: Defaults(), table: table(), seen: map[string]bool{}}
	for p.rest = args; len(p.rest) > 0; {
		done, err := p.next()
		if err != nil {
			return Options{}, err
		}
		// Like TCLAP, which prints and ends in the middle of the parse.
		if done {
			return p.options, nil
		}
	}
	if err := check(&p.options); err != nil {
		return Options{}, err
	}
	return p.options, nil
}

type parser struct {
	options Options
	table   []option
	seen    map[string]bool
	rest    []string
}

// next consumes one option with its value and reports whether parsing ends here.
func (p *parser) next() (done bool, err error) {
	arg := p.rest[0]
	p.rest = p.rest[1:]

	opt, value, inline, ok := p.find(arg)
	if !ok {
		return false, &UsageError{Argument: arg, Reason: "Couldn't find match for argument"}
	}
	if p.seen[opt.name] {
		return false, &UsageError{Argument: opt.id(), Reason: "Argument already set!"}
	}
	p.seen[opt.name] = true
	switch {
	case opt.isBool && inline:
		return false, &UsageError{Argument: arg, Reason: "Couldn't find match for argument"}
	case !opt.isBool && !inline:
		if len(p.rest) == 0 {
			return false, &UsageError{Argument: opt.id(), Reason: "Missing a value for this argument!"}
		}
		value, p.rest = p.rest[0], p.rest[1:]
	}
	if err := opt.set(&p.options, value); err != nil {
		return false, &UsageError{Argument: opt.id(), Reason: "Couldn't read argument value from string '" + value + "'"}
	}
	return p.options.Version || p.options.Help || p.options.HotRestartVersion, nil
}

// find matches --name, -x, and a value in the same argument after "=" or after
// a space: TCLAP's delimiter is the space, so "--concurrency 2" may be one
// argument, and there are launchers that pass it so.
func (p *parser) find(arg string) (opt option, value string, inline, ok bool) {
	name := arg
	if i := strings.IndexAny(arg, "= "); i >= 0 {
		name, value, inline = arg[:i], arg[i+1:], true
	}
	for _, o := range p.table {
		if name == "--"+o.name || (o.short != "" && name == "-"+o.short) {
			return o, value, inline, true
		}
	}
	return option{}, "", false, false
}

// check does what Envoy does with values after TCLAP has read them.
func check(o *Options) error {
	level, ok := Level(o.LogLevel)
	if !ok {
		return &ValueError{Text: fmt.Sprintf("error: invalid log level specified '%s'", o.LogLevel)}
	}
	o.LogLevel = level
	if !slices.Contains([]Mode{ModeServe, ModeValidate, ModeInitOnly}, o.Mode) {
		return &ValueError{Text: fmt.Sprintf("error: unknown mode '%s'", o.Mode)}
	}
	if o.DrainStrategy != "gradual" && o.DrainStrategy != "immediate" {
		return &ValueError{Text: fmt.Sprintf("error: unknown drain-strategy '%s'", o.DrainStrategy)}
	}
	if o.LocalAddressIPVersion != "v4" && o.LocalAddressIPVersion != "v6" {
		return &ValueError{Text: fmt.Sprintf("error: unknown IP address version '%s'", o.LocalAddressIPVersion)}
	}
	o.Concurrency = max(1, o.Concurrency)
	return checkComponents(o)
}

func checkComponents(o *Options) error {
	if o.ComponentLogLevel == "" {
		return nil
	}
	o.ComponentLevels = map[string]string{}
	for pair := range strings.SplitSeq(o.ComponentLogLevel, ",") {
		name, text, ok := strings.Cut(pair, ":")
		if !ok || strings.Contains(text, ":") {
			return &ValueError{Text: fmt.Sprintf("error: component log level not correctly specified '%s'", pair)}
		}
		level, ok := Level(text)
		if !ok {
			return &ValueError{Text: fmt.Sprintf("error: invalid log level specified '%s'", text)}
		}
		if !slices.Contains(Components(), name) {
			return &ValueError{Text: fmt.Sprintf("error: invalid component specified '%s'", name)}
		}
		o.ComponentLevels[name] = level
	}
	return nil
}

// Components lists the names of Envoy's loggers. The list is a selection of
// Envoy's own: those that a dataplane's operator is likely to name.
// Source: source/common/common/logger.h.
func Components() []string {
	return []string{
		"admin", "assert", "aws", "backtrace", "client", "config", "conn_handler", "connection", "credential_injector",
		"dns", "dubbo", "envoy_bug", "ext_authz", "ext_proc", "file", "filter", "forward_proxy", "geolocation", "grpc",
		"hc", "health_checker", "http", "http2", "hystrix", "init", "io", "jwt", "kafka", "lua", "main", "matcher",
		"misc", "mongo", "oauth2", "pool", "quic", "rate_limit_quota", "rbac", "redis", "rds", "router", "runtime",
		"secret", "stats", "stats_sink", "tap", "testing", "thrift", "tracing", "udp", "upstream", "wasm",
	}
}

// Usage writes the text of --help.
func Usage(w io.Writer) error {
	var b strings.Builder
	b.WriteString("\nUSAGE: \n\n   envoy  [--OPTION VALUE] ...\n\nWhere: \n\n")
	for _, o := range table() {
		b.WriteString("   ")
		if o.short != "" {
			b.WriteString("-" + o.short + ",  ")
		}
		b.WriteString("--" + o.name)
		if !o.isBool {
			b.WriteString(" <value>")
		}
		b.WriteString("\n     " + o.help + "\n\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
