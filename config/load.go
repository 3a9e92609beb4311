// SPDX-License-Identifier: MPL-2.0

package config

import "encoding/json"

// Default returns the Config that consists of defaults alone. It is not valid in
// itself: the servers' addresses and the proxy ID have no default.
func Default() *Config { return defaults(Settings()) }

// defaults fills the fields of a table with its defaults.
func defaults(table []Setting) *Config {
	c := &Config{sources: map[string]string{}}
	for _, s := range table {
		if s.Default == "" || s.AliasOf != "" {
			continue
		}
		if err := s.bind(c).set(s.Default); err != nil {
			// The table is part of the program, and a test reads every row.
			panic("config: default of -" + s.Flag + ": " + err.Error())
		}
	}
	return c
}

// Load reads the command line (without the program's name), the environment and
// the JSON file that -config-file names, and checks the result. lookupEnv is
// [os.LookupEnv] or a stand-in.
//
// The error is always an [*Error] with every problem found. A value is checked in
// every source, even where a stronger source overrides it. With -help or -version
// there is no error, so that help can be had for a broken command line.
func Load(args []string, lookupEnv func(string) (string, bool)) (*Config, error) {
	l := newLoader(Settings())
	flags := l.parseArgs(args)
	l.apply(l.readFile(flags))
	l.apply(l.readEnv(lookupEnv))
	l.apply(flags)
	if l.cfg.Help || l.cfg.Version {
		return l.cfg, nil
	}
	l.adoptDeprecated()
	healthCheck := l.cfg.CheckProxyHealth || l.refused["check-proxy-health"]
	if !healthCheck {
		l.readIDFile()
		l.validate()
	}
	if len(l.problems) > 0 {
		return nil, &Error{Problems: l.problems, HealthCheck: healthCheck}
	}
	return l.cfg, nil
}

// LoadLifecycle reads the same sources for a program that talks to a podplane
// which runs beside it with the same environment: nothing is required, and what
// is given is checked one by one.
func LoadLifecycle(args []string, lookupEnv func(string) (string, bool)) (Lifecycle, error) {
	l := newLoader(Settings())
	flags := l.parseArgs(args)
	l.apply(l.readFile(flags))
	l.apply(l.readEnv(lookupEnv))
	l.apply(flags)
	l.validateLifecycle()
	if len(l.problems) > 0 {
		return Lifecycle{}, &Error{Problems: l.problems}
	}
	return l.cfg.Lifecycle, nil
}

// loader fills a Config, layer by layer, and collects what is wrong.
type loader struct {
	cfg      *Config
	table    []Setting
	byFlag   map[string]Setting
	problems []Problem
	// refused has the settings with a problem, by flag name, so that a bad
	// value is not also reported as missing.
	refused map[string]bool
}

func newLoader(table []Setting) *loader {
	l := &loader{cfg: defaults(table), table: table, byFlag: map[string]Setting{}, refused: map[string]bool{}}
	for _, s := range l.table {
		l.byFlag[s.Flag] = s
	}
	return l
}

// given is one value from one source, not yet looked at.
type given struct {
	setting Setting
	source  string
	text    string
	raw     json.RawMessage // instead of text, if it is from the file
}

// apply puts one layer of values over what is there.
func (l *loader) apply(layer []given) {
	spelled := map[string]given{}
	for _, g := range layer {
		target := g.setting.target()
		if before, ok := spelled[target]; ok && before.setting.Flag != g.setting.Flag && before.shown() != g.shown() {
			l.report(g, "is another name of -"+target+" and contradicts "+before.source)
			continue
		}
		spelled[target] = g
		if err := g.store(l.cfg); err != nil {
			l.report(g, err.Error())
			continue
		}
		l.cfg.sources[target] = g.source
	}
}

func (g given) store(c *Config) error {
	if g.raw != nil {
		return g.setting.bind(c).setJSON(g.raw)
	}
	return g.setting.bind(c).set(g.text)
}

// shown is the value as it was written.
func (g given) shown() string {
	var s string
	switch {
	case g.raw == nil:
		return g.text
	case json.Unmarshal(g.raw, &s) == nil:
		return s
	default:
		return string(g.raw)
	}
}

// readEnv looks up every variable of the table.
func (l *loader) readEnv(lookup func(string) (string, bool)) []given {
	var layer []given
	for _, s := range l.table {
		for _, name := range s.envNames() {
			if text, ok := lookup(name); ok && text != "" {
				layer = append(layer, given{setting: s, source: "environment " + name, text: text})
			}
		}
	}
	return layer
}

// report adds a problem with a value that was given.
func (l *loader) report(g given, reason string) {
	p := Problem{Setting: g.setting.Flag, Source: g.source, Reason: reason}
	if !g.setting.isSecret() {
		p.Value = hidePasswords(g.shown())
	}
	l.add(p)
	l.refused[g.setting.target()] = true
}

func (l *loader) add(p Problem) { l.problems = append(l.problems, p) }
