// SPDX-License-Identifier: MPL-2.0

package config

import (
	"slices"
	"strings"
	"testing"
)

func TestRefused(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		args []string
		want []string
	}{
		"server with port":      {[]string{"-addresses=consul:8502"}, []string{"the port goes into -grpc-port"}},
		"server as URL":         {[]string{"-addresses=http://u:pw@consul"}, []string{`"http://<redacted>@consul": must be an IP address`}},
		"empty exec":            {[]string{"-addresses=exec= "}, []string{"exec=COMMAND"}},
		"no server":             {[]string{"-addresses="}, []string{"flag -addresses: must be an IP"}},
		"gRPC port 0":           {[]string{"-grpc-port=0"}, []string{"from 1 to 65535"}},
		"lone cert":             {[]string{"-tls-cert=c"}, []string{"-tls-key (not set): is required because flag -tls-cert is set"}},
		"lone key":              {[]string{"-tls-key=c", "-tls-disabled"}, []string{"-tls-cert (not set)"}},
		"static, no token":      {[]string{"-credential-type=static"}, []string{"-static-token (not set): is required", "because -credential-type is static", "-static-token-path"}},
		"static, both":          {[]string{"-credential-type=static", "-static-token=s3cret", "-static-token-path=/t"}, []string{`flag -static-token-path: "/t": contradicts flag -static-token`}},
		"login, no token":       {[]string{"-credential-type=login", "-login-auth-method=m"}, []string{"-login-bearer-token (not set)", "DP_CREDENTIAL_LOGIN_BEARER_TOKEN"}},
		"login, no method":      {[]string{"-credential-type=login", "-login-bearer-token-path=/t"}, []string{"-login-auth-method (not set)"}},
		"meta":                  {[]string{"-login-meta==x"}, []string{"of the form key=value"}},
		"no proxy ID":           {[]string{"-proxy-id="}, []string{"-proxy-id (not set): is required", "in mode sidecar", "DP_PROXY_ID"}},
		"proxy ID with space":   {[]string{"-proxy-id=a b"}, []string{`flag -proxy-id: "a b": must be without white space`}},
		"two proxy IDs":         {[]string{"-service-file=/s.hcl"}, []string{"flag -proxy-id", "contradicts flag -service-file"}},
		"service file, DNS":     {[]string{"-mode=dns-proxy", "-consul-dns-bind-port=0", "-service-file=/s.hcl"}, []string{`flag -service-file: "/s.hcl": is for mode sidecar only`}},
		"service file, node ID": {[]string{"-proxy-id=", "-service-file=/s.hcl", "-proxy-node-id=x"}, []string{"flag -proxy-node-id", "by name"}},
		"old proxy ID":          {[]string{"-proxy-id=", "-proxy-service-id=a\n"}, []string{`flag -proxy-service-id: "a\n": must be without`}},
		"xDS not loopback":      {[]string{"-xds-bind-addr=0.0.0.0"}, []string{"must be a loopback IP address, or unix://"}},
		"xDS relative path":     {[]string{"-xds-bind-addr=unix://xds"}, []string{"absolute path"}},
		"xDS long path":         {[]string{"-xds-bind-addr=unix:///" + strings.Repeat("x", 107)}, []string{"at most 107 bytes"}},
		"xDS cache":             {[]string{"-xds-cache=disk"}, []string{"memory, off or the absolute path"}},
		"DNS not loopback":      {[]string{"-consul-dns-bind-port=8600", "-consul-dns-bind-addr=10.0.0.1"}, []string{"flag -consul-dns-bind-addr", "loopback"}},
		"DNS port":              {[]string{"-consul-dns-bind-port=-2"}, []string{"from -1 to 65535"}},
		"recursor":              {[]string{"-consul-dns-recursors=1.1.1.1:0"}, []string{"an IP address with or without a port"}},
		"admin address":         {[]string{"-envoy-admin-bind-address=host"}, []string{"an IP address"}},
		"admin port 0":          {[]string{"-envoy-admin-bind-port=0"}, []string{"from 1 to 65535"}},
		"drain strategy":        {[]string{"-envoy-drain-strategy=slow"}, []string{"must be gradual or immediate"}},
		"no executable":         {[]string{"-envoy-executable-path="}, []string{"flag -envoy-executable-path"}},
		"restart window":        {[]string{"-envoy-restart-window-seconds=0"}, []string{"seconds, 1 or more"}},
		"idle policy":           {[]string{"-shutdown-when-idle=yes"}, []string{"must be auto, always or never"}},
		"grace with unit":       {[]string{"-shutdown-grace-period-seconds=30s"}, []string{"without a unit"}},
		"retention 0":           {[]string{"-telemetry-prom-retention-time=0"}, []string{"a duration above 0"}},
		"scrape path":           {[]string{"-telemetry-prom-scrape-path="}, []string{"a URL path that starts with /"}},
		"scrape bytes":          {[]string{"-telemetry-prom-scrape-max-bytes=0"}, []string{"1 or more"}},
		"metrics URL":           {[]string{"-telemetry-prom-service-metrics-url=localhost:9090/m"}, []string{"absolute http:// or https:// URL"}},
		"password in URL":       {[]string{"-telemetry-prom-service-metrics-url=ftp://u:pw@h,ftp://u:pw@h"}, []string{`"ftp://<redacted>@h"`}},
		"merge with TLS": {[]string{"-telemetry-prom-merge-bind-addr=0.0.0.0", "-telemetry-prom-ca-certs-path=a", "-telemetry-prom-cert-file=b", "-telemetry-prom-key-file=c"},
			[]string{"flag -telemetry-prom-merge-bind-addr", "loopback"}},
		"Prometheus key alone": {[]string{"-telemetry-prom-ca-certs-path=a", "-telemetry-prom-key-file=c"}, []string{"-telemetry-prom-cert-file (not set)"}},
		"reserved path":        {[]string{"-graceful-shutdown-path=/ready"}, []string{"has for itself"}},
		"same path":            {[]string{"-graceful-startup-path=/graceful_shutdown"}, []string{"is the same path as -graceful-shutdown-path"}},
		"pattern path":         {[]string{"-graceful-startup-path=/{x}"}, []string{"braces"}},
		"same port":            {[]string{"-graceful-port=19000"}, []string{`default of -envoy-admin-bind-port: "19000": is the same port as -graceful-port`}},
		"same port, wildcard":  {[]string{"-graceful-addr=0.0.0.0", "-graceful-port=20100"}, []string{"default of -telemetry-prom-merge-port"}},
		"same port, families":  {[]string{"-graceful-addr=::", "-graceful-port=20100"}, []string{"default of -telemetry-prom-merge-port"}},
		"bad ID file, once":    {[]string{"-proxy-id=", "-proxy-id-path=/nowhere"}, []string{"flag -proxy-id-path"}},
		"dns-proxy, no port":   {[]string{"-mode=dns-proxy"}, []string{"default of -consul-dns-bind-port", "nothing but DNS"}},
		"dns-proxy, namespace": {[]string{"-mode=dns-proxy", "-consul-dns-bind-port=0", "-proxy-namespace=ns"}, []string{`flag -proxy-namespace: "ns": must be default or unset`}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantOne(t, problems(t, valid(tc.args...), nil), tc.want...)
		})
	}
}

func TestBadIsNotAlsoMissing(t *testing.T) {
	t.Parallel()
	wantOne(t, problems(t, []string{"-proxy-id=web", "-addresses=a b"}, nil), "flag -addresses")
	wantOne(t, problems(t, []string{"-addresses=a", "-proxy-id"}, nil), "flag -proxy-id: needs a value")
	wantOne(t, problems(t, []string{"-addresses=a", "-proxy-id-path"}, nil), "flag -proxy-id-path: needs a value")
}

func TestAccepted(t *testing.T) {
	t.Parallel()
	cases := map[string][]string{
		"dns-proxy without a proxy":    {"-proxy-id=", "-mode=dns-proxy", "-consul-dns-bind-port=53", "-consul-dns-bind-addr=0.0.0.0", "-proxy-namespace=default"},
		"dns-proxy leaves ID file be":  {"-proxy-id=", "-proxy-id-path=/nowhere", "-mode=dns-proxy", "-consul-dns-bind-port=53"},
		"static token file":            {"-credential-type=static", "-static-token-path=/t"},
		"login":                        {"-credential-type=login", "-login-auth-method=m", "-login-bearer-token-path=/t"},
		"service file":                 {"-proxy-id=", "-service-file=/s.hcl", "-consul-http-port=8600", "-consul-http-tls-disabled"},
		"one port, two addresses":      {"-graceful-port=19000", "-graceful-addr=127.0.0.2"},
		"one port, two families":       {"-graceful-port=19000", "-graceful-addr=::1"},
		"any ports":                    {"-graceful-port=0", "-telemetry-prom-merge-port=0", "-consul-dns-bind-port=0"},
		"IPv6 everywhere":              {"-addresses=2001:db8::1", "-xds-bind-addr=::1", "-envoy-admin-bind-address=::1", "-consul-dns-bind-addr=::1", "-consul-dns-bind-port=8600"},
		"DNS off needs no loopback":    {"-consul-dns-bind-addr=10.0.0.1"},
		"cache folder":                 {"-xds-cache=/run/cache"},
		"proxy ready listener":         {"-envoy-ready-bind-address=10.0.0.1", "-envoy-ready-bind-port=21000"},
		"TLS for the Prometheus scape": {"-telemetry-prom-ca-certs-file=a", "-telemetry-prom-cert-file=b", "-telemetry-prom-key-file=c"},
	}
	for name, args := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c := mustLoad(t, valid(args...), nil); len(c.Warnings) > 0 {
				t.Errorf("warnings %q", c.Warnings)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		args []string
		want string
	}{
		"retention time": {[]string{"-telemetry-prom-retention-time=1m"},
			"flag -telemetry-prom-retention-time has no effect, because podplane's own metrics do not expire"},
		"deprecated":           {[]string{"-proxy-id=", "-proxy-service-id=a"}, "flag -proxy-service-id is deprecated: use -proxy-id"},
		"deprecated, replaced": {[]string{"-service-namespace=a"}, "flag -service-namespace is ignored, because flag -proxy-id replaces all deprecated service settings"},
		"HTTP port":            {[]string{"-consul-http-port=1"}, "flag -consul-http-port has no effect without -service-file"},
		"type missing":         {[]string{"-static-token=s3cret"}, "flag -static-token has no effect, because -credential-type is not set"},
		"TLS off":              {[]string{"-tls-disabled", "-ca-certs=/ca"}, "flag -ca-certs has no effect, because TLS is disabled by flag -tls-disabled"},
		"two bearer tokens": {[]string{"-credential-type=login", "-login-auth-method=m", "-login-bearer-token=s3cret", "-login-bearer-token-path=/t"},
			"flag -login-bearer-token-path is ignored, because flag -login-bearer-token gives the token itself"},
		"open metrics": {[]string{"-telemetry-prom-merge-bind-addr=::"}, "flag -telemetry-prom-merge-bind-addr: metrics are served in plain text to everyone who can reach the pod at ::"},
		"ready port":   {[]string{"-envoy-ready-bind-port=1"}, "flag -envoy-ready-bind-port has no effect without -envoy-ready-bind-address"},
		"ready addr":   {[]string{"-envoy-ready-bind-address=::"}, "flag -envoy-ready-bind-address has no effect without -envoy-ready-bind-port"},
		"ID and file":  {[]string{"-proxy-id-path=/nowhere"}, "flag -proxy-id-path is ignored, because flag -proxy-id gives the proxy ID itself"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c := mustLoad(t, valid(tc.args...), nil); !slices.Equal(c.Warnings, []string{tc.want}) {
				t.Errorf("warnings %q, want %q", c.Warnings, tc.want)
			} else if c.Proxy.IDPath != "" {
				t.Errorf("the ID is said to be from %s, which was not read", c.Proxy.IDPath)
			}
		})
	}
}

func TestDeprecatedSettings(t *testing.T) {
	t.Parallel()
	args := []string{"-addresses=a", "-proxy-service-id=id", "-service-node-name=node"}
	e := env{"DP_SERVICE_NODE_ID": "node-id", "DP_SERVICE_NAMESPACE": "ns", "DP_SERVICE_PARTITION": "part"}
	c := mustLoad(t, args, e)
	if want := (Proxy{ID: "id", NodeName: "node", NodeID: "node-id", Namespace: "ns", Partition: "part"}); c.Proxy != want || len(c.Warnings) != 5 {
		t.Errorf("%+v, warnings %q", c.Proxy, c.Warnings)
	}
	file := writeFile(t, "c.json", `{"proxy": {"id": "new"}}`)
	c = mustLoad(t, append(args, "-config-file="+file), e)
	if want := (Proxy{ID: "new"}); c.Proxy != want {
		t.Errorf("%+v: a proxy setting from anywhere replaces every service setting", c.Proxy)
	}
}

func TestIDFile(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ contents, want string }{
		"good":        {contents: "web-proxy"},
		"newline":     {"web-proxy\n", "white space (such as a newline) around the proxy ID: it must hold the ID alone, as written by printf %s ID > FILE"},
		"leading":     {" web-proxy", "white space (such as a newline) around"},
		"empty":       {"", "is empty"},
		"blank":       {" \n", "is empty"},
		"two":         {"web\napi\n", "holds white space or control characters"},
		"binary":      {"web\x00", "holds white space or control characters"},
		"no UTF-8":    {"web\xff", "holds white space or control characters"},
		"endless one": {strings.Repeat("x", maxFileSize+1), "is larger than"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := writeFile(t, "id", tc.contents)
			for _, args := range [][]string{
				{"-addresses=a", "-proxy-id-path=" + path},
				{"-addresses=a", "-proxy-service-id-path=" + path},
				{"-addresses=a", "-config-file=" + writeFile(t, "c.json", `{"proxy": {"idPath": "`+path+`"}}`)},
			} {
				if tc.want != "" {
					wantOne(t, problems(t, args, nil), path, tc.want)
				} else if c := mustLoad(t, args, nil); c.Proxy.ID != tc.contents || c.Proxy.IDPath != path {
					t.Errorf("%+v", c.Proxy)
				}
			}
		})
	}
	wantOne(t, problems(t, []string{"-addresses=a", "-proxy-id-path", t.TempDir()}, nil), "cannot be read: is a directory")
}
