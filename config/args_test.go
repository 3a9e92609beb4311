// SPDX-License-Identifier: MPL-2.0

package config

import (
	"slices"
	"testing"
)

func TestArgs(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, []string{
		"--addresses", "exec=cmd -x", "-proxy-id", "a", "--proxy-id=b", "-tls-disabled", "-log-json=T", "-telemetry-use-central-config=false",
		"-consul-dns-bind-port", "-1", "--", "-l", "debug", "--", "-version",
	}, nil)
	if c.Consul.Addresses != "exec=cmd -x" || c.Proxy.ID != "b" || !c.Consul.TLS.Disabled || !c.Logging.JSON || c.Telemetry.UseCentralConfig || c.DNSServer.BindPort != -1 {
		t.Errorf("%+v", c)
	}
	if want := []string{"-l", "debug", "--", "-version"}; !slices.Equal(c.EnvoyArgs, want) || c.Version {
		t.Errorf("Envoy's arguments %q", c.EnvoyArgs)
	}
}

func TestBadArgs(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		args []string
		want []string
	}{
		"typo":                 {[]string{"-adresses=x"}, []string{"flag -adresses: unknown flag", "did you mean -addresses?"}},
		"typo with value":      {[]string{"-log-lvel", "debug"}, []string{"flag -log-lvel", "-log-level"}},
		"nothing alike":        {[]string{"--qqqqqqqqqq"}, []string{"flag -qqqqqqqqqq: unknown flag; -help lists all"}},
		"three dashes":         {[]string{"---mode=sidecar"}, []string{"flag --mode", "did you mean -mode?"}},
		"no name":              {[]string{"-=x"}, []string{"flag -: unknown"}},
		"control characters":   {[]string{"-a\nb"}, []string{"flag -a: unknown"}},
		"no value":             {[]string{"-grpc-port"}, []string{"flag -grpc-port: needs a value: -grpc-port=NUMBER"}},
		"positional":           {[]string{"serve"}, []string{`argument 3: "serve"`, "after --"}},
		"a lone dash":          {[]string{"-"}, []string{`argument 3: "-"`}},
		"switch with separate": {[]string{"-log-json", "false"}, []string{`argument 4: "false"`, "-log-json=false"}},
		"bad switch":           {[]string{"-log-json=yes"}, []string{`flag -log-json: "yes": must be true or false`}},
		"empty number":         {[]string{"-grpc-port="}, []string{"flag -grpc-port: must be a whole number from 1 to 65535"}},
		"alias contradicts":    {[]string{"-telemetry-prom-ca-certs-path=a", "-telemetry-prom-ca-certs-file=b", "-telemetry-prom-cert-file=c", "-telemetry-prom-key-file=k"}, []string{`flag -telemetry-prom-ca-certs-file: "b"`, "contradicts flag -telemetry-prom-ca-certs-path"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantOne(t, problems(t, valid(tc.args...), nil), tc.want...)
		})
	}
}

func TestAliasWorks(t *testing.T) {
	t.Parallel()
	args := valid("-telemetry-prom-ca-certs-file=flag", "-telemetry-prom-cert-file=c", "-telemetry-prom-key-file=k")
	c := mustLoad(t, args, env{"DP_TELEMETRY_PROM_CA_CERTS_PATH": "variable"})
	if got := c.Telemetry.Prometheus.CACertsPath; got != "flag" {
		t.Errorf("CA %q: the stronger source wins whatever the spelling", got)
	}
	mustLoad(t, append(args, "-telemetry-prom-ca-certs-path=flag"), nil)
}

func TestEveryProblemAtOnce(t *testing.T) {
	t.Parallel()
	file := writeFile(t, "c.json", `{"consul": {"grpcPort": "x", "tls": {"certFil": "a"}}, "logging": {"logLevel": "loud"}}`)
	got := problems(t, []string{"-config-file=" + file, "-mode=foo", "-tls-key=k", "-credential-type=magic", "-x"}, env{"DP_LOG_JSON": "maybe", "DP_PROXY_ID_PATH": "/nowhere/id"})
	want := []string{
		"flag -x: unknown flag; -help lists all",
		"config file " + file + " key consul.tls.certFil: unknown key; did you mean consul.tls.certFile?",
		"config file " + file + ` key consul.grpcPort: "x": must be a JSON number, not a string`,
		"config file " + file + ` key logging.logLevel: "loud": must be trace, debug, info, warn, error or off`,
		`environment DP_LOG_JSON: "maybe": must be true or false`,
		`flag -mode: "foo": must be sidecar or dns-proxy`,
		`flag -credential-type: "magic": must be static or login`,
		`environment DP_PROXY_ID_PATH: "/nowhere/id": cannot be read: no such file or directory`,
		"-addresses (not set): is required: set flag -addresses, environment DP_CONSUL_ADDRESSES or config file key consul.addresses",
		"-tls-cert (not set): is required because flag -tls-key is set: set flag -tls-cert, environment DP_TLS_CERT or config file key consul.tls.certFile",
	}
	if !slices.Equal(got, want) {
		for i, line := range got {
			t.Logf("%d: %s", i, line)
		}
		t.Error("the problems above are not those expected")
	}
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	one := Problem{Setting: "x", Source: "flag -x", Value: "a\nb", Reason: "is bad"}
	if got := (&Error{Problems: []Problem{one}}).Error(); got != `invalid configuration: flag -x: "a\nb": is bad` {
		t.Error(got)
	}
	if got := (&Error{Problems: []Problem{one, {Source: "s", Reason: "r"}}}).Error(); got != "invalid configuration: 2 problems:\n  - flag -x: \"a\\nb\": is bad\n  - s: r" {
		t.Error(got)
	}
}
