// SPDX-License-Identifier: MPL-2.0

package config

import (
	"io"
	"slices"
	"strings"
	"unicode"
)

const companionHead = `Usage: podplane-injector [flags]
       podplane-injector bootstrap-acl [flags]

podplane-injector is the companion of podplane in a Kubernetes cluster: the
admission webhook that puts podplane into pods, and the registrar that puts pods
into Consul's catalog. bootstrap-acl makes in Consul what both need of ACLs.

A setting can be given as a flag (-x or --x), in the environment, or under a key
of the JSON file that -config-file names. A flag wins over the environment, the
environment over the file, the file over the default. An empty variable counts
as unset. Switches take no value, or one after "=": -log-json=false.
`

// CompanionSettings returns the companion's table. The caller owns the slice.
func CompanionSettings() []Setting { return companionTable(&Companion{}) }

// CompanionUsage writes the companion's help.
func CompanionUsage(w io.Writer) error { return usage(w, companionHead, CompanionSettings()) }

// CompanionMarkdown is [Markdown] for the companion.
func CompanionMarkdown() string { return markdown(CompanionSettings()) }

// DefaultCompanion returns the defaults alone, which are not valid in themselves.
func DefaultCompanion() *Companion {
	c := &Companion{}
	c.adopt(defaults(companionTable(c)))
	return c
}

// LoadCompanion is [Load] for podplane-injector.
func LoadCompanion(args []string, lookupEnv func(string) (string, bool)) (*Companion, error) {
	return loadCompanion(args, lookupEnv, (*companionLoader).validateServe)
}

// LoadBootstrap is [Load] for podplane-injector bootstrap-acl: what only a
// running companion needs is checked, but not required.
func LoadBootstrap(args []string, lookupEnv func(string) (string, bool)) (*Companion, error) {
	return loadCompanion(args, lookupEnv, (*companionLoader).validateBootstrap)
}

func loadCompanion(args []string, lookupEnv func(string) (string, bool), validate func(*companionLoader)) (*Companion, error) {
	c := &Companion{}
	l := &companionLoader{loader: newLoader(companionTable(c)), c: c}
	flags := l.parseArgs(args)
	l.apply(l.readFile(flags))
	l.apply(l.readEnv(lookupEnv))
	l.apply(flags)
	c.adopt(l.cfg)
	if c.Help || c.Version {
		return c, nil
	}
	if l.cfg.EnvoyArgs != nil {
		l.add(Problem{Source: "argument --", Reason: "there is nothing to pass on"})
	}
	validate(l)
	if len(l.problems) > 0 {
		return nil, &Error{Problems: l.problems}
	}
	c.Warnings = l.cfg.Warnings
	return c, nil
}

// companionLoader is a loader whose rows fill a Companion.
type companionLoader struct {
	*loader
	c *Companion
}

// adopt takes over what both programs have.
func (c *Companion) adopt(common *Config) {
	c.Logging, c.Help, c.Version = common.Logging, common.Help, common.Version
}

// companionTable returns the rows for c.
func companionTable(c *Companion) []Setting {
	common := []string{"config-file", "log-level", "log-json", "version", "help", "h"}
	var table []Setting
	for _, s := range generalSettings() {
		if slices.Contains(common, s.Flag) {
			s.Key = ""
			s.Help = strings.ReplaceAll(s.Help, "podplane and Envoy log", "podplane-injector logs")
			s.Help = strings.ReplaceAll(s.Help, ", podplane and Envoy alike", "")
			table = append(table, s)
		}
	}
	for _, rows := range [][]Setting{
		c.kubernetesSettings(), c.consulSettings(), c.credentialSettings(), c.injectSettings(), c.sidecarSettings(),
		c.podSettings(), c.podLifeSettings(), c.podProbeSettings(), c.tenancySettings(), c.registrarSettings(),
		c.webhookSettings(), c.bootstrapSettings(),
	} {
		table = append(table, rows...)
	}
	for i := range table {
		s := &table[i]
		switch s.Env {
		case "":
			s.Env = "PODPLANE_INJECTOR_" + strings.ToUpper(strings.ReplaceAll(s.Flag, "-", "_"))
		case noEnv:
			s.Env = ""
		}
		if s.Env != "" {
			s.Key = camel(s.Flag)
		}
	}
	return table
}

// camel turns a flag's name into the form of JSON keys.
func camel(flag string) string {
	var b strings.Builder
	upper := false
	for _, r := range flag {
		if r == '-' {
			upper = true
			continue
		}
		if upper {
			r = unicode.ToUpper(r)
		}
		upper = false
		b.WriteRune(r)
	}
	return b.String()
}

// validateServe checks what depends on more than one setting.
func (l *companionLoader) validateServe() {
	l.require("consul-addresses", "")
	l.require("image", "")
	l.validateConsul()
	if l.c.Webhook.CertMode == CertsFiles {
		l.require("cert-file", "because the certificate comes from files")
		l.require("key-file", "because the certificate comes from files")
	} else if l.c.Webhook.AuthorityTTL < 4*l.c.Webhook.LeafTTL {
		l.refuse("cert-ca-ttl", "must be at least four times -cert-ttl")
	}
	if l.c.Inject.Compat && l.c.Inject.CompanionImage == "" {
		l.require("companion-image", "because -compat needs an init container")
	}
	if !l.c.Tenancy.Namespaces {
		for _, flag := range []string{"consul-destination-namespace", "consul-namespace-mirroring", "consul-namespace-mirroring-prefix", "cross-namespace-policy"} {
			if l.isSet(flag) {
				l.warn("%s has no effect without -enable-consul-namespaces", l.cfg.sources[flag])
			}
		}
	}
	if l.c.Registrar.TokenCleanup && l.c.Inject.AuthMethod == "" && l.isSet("token-cleanup") {
		l.warn("%s has no effect without -acl-auth-method", l.cfg.sources["token-cleanup"])
	}
}

// validateBootstrap checks what bootstrap-acl needs.
func (l *companionLoader) validateBootstrap() {
	l.require("consul-addresses", "")
	l.notOnCommandLine("bootstrap-token", "bootstrap-token-path")
	if !l.isSet("bootstrap-token-path") {
		l.require("bootstrap-token", "(-bootstrap-token-path would do as well)")
	}
	l.require("kubernetes-host", "because Consul asks the API server about bearer tokens")
}

// validateConsul checks the companion's own credentials.
func (l *companionLoader) validateConsul() {
	l.notOnCommandLine("consul-token", "consul-token-path")
	switch l.c.Consul.Credentials.Type {
	case CredentialStatic:
		if !l.isSet("consul-token-path") {
			l.require("consul-token", "(-consul-token-path would do as well)")
		}
	case CredentialLogin:
		l.require("consul-login-auth-method", "because of -consul-credential-type=login")
		l.require("consul-login-bearer-token-path", "because of -consul-credential-type=login")
	case CredentialNone:
		for _, flag := range []string{"consul-token", "consul-token-path", "consul-login-auth-method"} {
			if l.isSet(flag) {
				l.warn("%s has no effect without -consul-credential-type", l.cfg.sources[flag])
			}
		}
	}
	l.allOrNone("consul-tls-cert", "consul-tls-key")
}

// notOnCommandLine refuses a secret that everybody on the machine could read.
func (l *companionLoader) notOnCommandLine(flag, instead string) {
	if l.cfg.sources[flag] == "flag -"+flag {
		l.add(Problem{Setting: flag, Source: "flag -" + flag, Reason: "everybody can read a command line: use the environment or -" + instead})
		l.refused[flag] = true
	}
}
