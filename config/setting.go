// SPDX-License-Identifier: MPL-2.0

package config

import (
	"strconv"
	"strings"
)

// Setting is one row of the table.
type Setting struct {
	// Flag is the name on the command line, without dashes.
	Flag string
	// Env is the environment variable; empty means that there is none.
	Env string
	// Key is the dotted path in the JSON file; empty means that there is none.
	Key string
	// Default is the default as a user would write it; empty means unset.
	Default string
	// Group is the heading under which the setting is documented.
	Group string
	// Help says in whole sentences what the setting does, with its unit.
	Help string
	// AliasOf is the flag name of the setting that this is another spelling of.
	AliasOf string
	// DeprecatedBy is the flag name of the setting to use instead.
	DeprecatedBy string
	// Numbered tells that Env also exists with the suffixes 1 to 9.
	Numbered bool

	// bind returns the field of c that the setting fills.
	bind func(c *Config) value
}

// The headings, in the order of the documentation.
const (
	groupGeneral    = "General"
	groupConsul     = "Consul servers"
	groupTLS        = "TLS to the servers"
	groupLogin      = "Credentials"
	groupProxy      = "Proxy identity"
	groupRegister   = "Self-registration"
	groupXDS        = "xDS server"
	groupEnvoy      = "Envoy"
	groupLifecycle  = "Lifecycle"
	groupMetrics    = "Metrics"
	groupDNS        = "DNS"
	groupDeprecated = "Deprecated"
)

// envName is the rule for variables, to which the table makes a few exceptions.
func envName(flag string) string {
	return "DP_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Settings returns the table: every setting once, in the order of the
// documentation. The caller owns the slice.
func Settings() []Setting {
	var table []Setting
	for _, rows := range [][]Setting{
		generalSettings(), consulSettings(), tlsSettings(), credentialSettings(), proxySettings(), registrationSettings(), xdsSettings(),
		envoySettings(), lifecycleSettings(), metricsSettings(), dnsSettings(), deprecatedSettings(),
	} {
		table = append(table, rows...)
	}
	for i := range table {
		switch s := &table[i]; s.Env {
		case "":
			s.Env = envName(s.Flag)
		case noEnv:
			s.Env = ""
		}
	}
	return table
}

// noEnv in a row of the table means that the setting has no variable.
const noEnv = "-"

// target is the flag name of the setting whose field s fills.
func (s Setting) target() string {
	if s.AliasOf != "" {
		return s.AliasOf
	}
	return s.Flag
}

// isSecret tells whether values of s must not be shown.
func (s Setting) isSecret() bool {
	_, ok := s.bind(&Config{}).(textValue[Secret])
	return ok
}

// isSwitch tells whether the flag can stand without a value.
func (s Setting) isSwitch() bool {
	_, ok := s.bind(&Config{}).(boolValue)
	return ok
}

// kind is the placeholder for the value in the help; switches have none.
func (s Setting) kind() string { return s.bind(&Config{}).kind() }

// envNames are the variables that s is read from, the strongest last.
func (s Setting) envNames() []string {
	if s.Env == "" {
		return nil
	}
	names := []string{s.Env}
	if s.Numbered {
		for n := 1; n <= 9; n++ {
			names = append(names, s.Env+strconv.Itoa(n))
		}
	}
	return names
}

// ways says how to give s a value.
func (s Setting) ways() string {
	ways := []string{"flag -" + s.Flag}
	if s.Env != "" {
		ways = append(ways, "environment "+s.Env)
	}
	if s.Key != "" {
		ways = append(ways, "config file key "+s.Key)
	}
	return orList(ways)
}
