// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

import (
	"fmt"
	"strings"
	"testing"
)

// wantError checks that an error has every part and is not longer than a terminal can show.
func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in the error:\n%v", part, err)
		}
	}
	if n := len(err.Error()); n > 4096 {
		t.Errorf("error of %d bytes", n)
	}
}

func TestBadKeys(t *testing.T) {
	t.Parallel()
	huge := strings.Repeat("x", 1<<20)
	tests := map[string]struct {
		key   string
		value any
		want  string
	}{
		"prometheus without port":      {keyPrometheusBindAddr, "0.0.0.0", `"0.0.0.0" is not an IP address and a port`},
		"prometheus with a name":       {keyPrometheusBindAddr, "localhost:20200", "not an IP address and a port"},
		"prometheus without host":      {keyPrometheusBindAddr, ":20200", "not an IP address and a port"},
		"prometheus with a large port": {keyPrometheusBindAddr, "0.0.0.0:65536", "not an IP address and a port"},
		"prometheus as a number":       {keyPrometheusBindAddr, 20200.0, `"20200" is not an IP address and a port`},
		"prometheus as an object":      {keyPrometheusBindAddr, map[string]any{}, "must be a string, not an object"},
		"stats huge":                   {keyStatsBindAddr, huge, "xxx"},
		"stats as a boolean":           {keyStatsBindAddr, true, "must be a string, not a boolean"},
		"statsd over a socket":         {keyStatsdURL, "unix:///s.sock", "only udp://ip:port"},
		"statsd over tcp":              {keyStatsdURL, "tcp://10.0.0.1:1", "neither udp://ip:port nor unix:///full/path"},
		"statsd without scheme":        {keyStatsdURL, "10.0.0.1:8125", "is not a URL"},
		"statsd without port":          {keyStatsdURL, "udp://10.0.0.1", "not an IP address and a port"},
		"statsd with a name":           {keyStatsdURL, "udp://statsd:8125", "not an IP address and a port"},
		"statsd with a broken URL":     {keyStatsdURL, "udp://[::1:8125", "is not a URL"},
		"statsd with a huge URL":       {keyStatsdURL, "udp://\x7f" + huge, "is not a URL"},
		"statsd unset variable":        {keyStatsdURL, "$NOT_SET", "environment variable NOT_SET is not set"},
		"statsd other variable":        {keyStatsdURL, "udp://${OTHER}:1", "is not a URL"},
		"dogstatsd unset host":         {keyDogstatsdURL, "udp://${HOST_IP}:8125", "environment variable HOST_IP is not set"},
		"dogstatsd variable's content": {keyDogstatsdURL, "${JUNK}", `"junk" is neither`},
		"dogstatsd relative socket":    {keyDogstatsdURL, "unix://s.sock", "not of the form unix:///full/path"},
		"dogstatsd empty socket":       {keyDogstatsdURL, "unix:///", "is empty"},
		"dogstatsd zero byte":          {keyDogstatsdURL, "unix:///a%00b", "zero byte"},
		"dogstatsd long socket":        {keyDogstatsdURL, "unix:///" + huge, "more than 107"},
		"tag without name":             {keyStatsTags, []any{"a=1", "=v"}, `tag "=v" has no name`},
		"tags as an object":            {keyStatsTags, map[string]any{}, "must be a list of strings, not an object"},
		"tag as a list":                {keyStatsTags, []any{"a", []any{}}, "element 1 must be a string, not a list"},
		"clusters not JSON":            {keyExtraClusters, `{"name":"a"}, {name:"b"}`, `is not JSON: invalid character 'n'`},
		"clusters cut off":             {keyExtraClusters, `{"name":`, "is not JSON"},
		"clusters trailing comma":      {keyExtraClusters, `{},`, "is not JSON"},
		"clusters that leave the list": {keyExtraClusters, `{}],"listeners":[{}`, "is not JSON"},
		"clusters not objects":         {keyExtraClusters, `{}, 1`, "element 1 is not a JSON object"},
		"clusters as a number":         {keyExtraClusters, 1.0, "must be JSON in a string, not a number"},
		"clusters broken UTF-8":        {keyExtraClusters, "{\"name\":\"\xff\"}", "is not valid UTF-8"},
		"clusters huge":                {keyExtraClusters, huge, "is not JSON"},
		"clusters twice":               {keyExtraClusters, `{"name":"a"},{"name":"a"}`, `cluster "a" exists already`},
		"clusters like ours":           {keyExtraClusters, `{"name":"consul-dataplane"}`, `cluster "consul-dataplane" exists already`},
		"clusters deep":                {keyExtraClusters, strings.Repeat("[", 20000), "is not JSON"},
		"listeners like ours":          {keyExtraListeners, `{"name":"envoy_ready_listener"}`, "exists already"},
		"listeners not JSON":           {keyExtraListeners, "\x00", "is not JSON"},
		"sinks not JSON":               {keyExtraSinks, `'{}'`, "is not JSON"},
		"stats config a list":          {keyStatsConfig, `[{}]`, "is not a JSON object"},
		"stats config two objects":     {keyStatsConfig, `{}, {}`, "is not JSON"},
		"stats config a number":        {keyStatsConfig, 1.0, "must be JSON in a string"},
		"tracing injection":            {keyTracing, `{}},"admin":{`, "is not JSON"},
		"tracing null":                 {keyTracing, "null", "is not a JSON object"},
		"flush interval no unit":       {keyStatsFlushInterval, 10.0, `"10" is not a duration such as "10s"`},
		"flush interval zero":          {keyStatsFlushInterval, "0s", "not at least 1ms and less than 5m0s"},
		"flush interval negative":      {keyStatsFlushInterval, "-1s", "not at least"},
		"flush interval long":          {keyStatsFlushInterval, "300s", "not at least"},
		"collector long":               {keyCollectorSocketDir, "/" + huge, "more than 107"},
		"template does not parse":      {keyTemplate, "{{", "unclosed action"},
		"template unknown field":       {keyTemplate, `{"a":"{{ .Nope }}"}`, "can't evaluate field Nope"},
		"template not JSON":            {keyTemplate, "admin: {}", "output is not JSON"},
		"template a list":              {keyTemplate, "[]", "output is not a JSON object"},
		"template empty output":        {keyTemplate, "{{/**/}}", "output is not JSON"},
		"template broken UTF-8":        {keyTemplate, "{\"\xff\":1}", "output is not valid UTF-8"},
		"template a boolean":           {keyTemplate, false, "must be a string, not a boolean"},
		"template endless":             {keyTemplate, `{{ range 100000000 }}0123456789{{ end }}`, "output has more than"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := testConfig()
			cfg.Ready = Address{Host: "0.0.0.0", Port: 21000}
			cfg.Getenv = environment("JUNK=junk")
			_, err := Build(cfg, testParams(map[string]any{tt.key: tt.value}))
			wantError(t, err, fmt.Sprintf("proxy config key %q: ", tt.key), tt.want)
			if n := strings.Count(err.Error(), "proxy config key"); n != 1 {
				t.Errorf("%d problems for one:\n%v", n, err)
			}
		})
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	t.Parallel()
	bad := make(map[string]any)
	for key := range everyKey() {
		if strings.HasPrefix(key, "envoy_") {
			bad[key] = true
		}
	}
	cfg := testConfig()
	cfg.ProxyID = ""
	p := testParams(bad)
	p.AccessLogs = []string{stdoutLog, "no"}
	_, err := Build(cfg, p)
	wantError(t, err, "build envoy bootstrap: ", "proxy ID is empty", "access log 1 from Consul: is not JSON")
	for key := range bad {
		wantError(t, err, fmt.Sprintf("proxy config key %q: ", key))
	}
}

func TestBadConfig(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(*Config)
		want   string
	}{
		"no proxy ID":        {func(c *Config) { c.ProxyID = "" }, "proxy ID is empty"},
		"no admin address":   {func(c *Config) { c.Admin = Address{} }, `admin address: "" is not an IP address`},
		"admin name":         {func(c *Config) { c.Admin.Host = "localhost" }, `"localhost" is not an IP address`},
		"admin port":         {func(c *Config) { c.Admin.Port = 65536 }, "port 65536 is not between"},
		"negative port":      {func(c *Config) { c.Admin.Port = -1 }, "port -1 is not between"},
		"no xDS address":     {func(c *Config) { c.XDS.Address = "" }, "xDS address: "},
		"xDS without port":   {func(c *Config) { c.XDS.Address = "127.0.0.1" }, "xDS address: "},
		"xDS empty socket":   {func(c *Config) { c.XDS.Address = "@" }, "socket path"},
		"xDS long socket":    {func(c *Config) { c.XDS.Address = "/" + strings.Repeat("x", 107) }, "has 108 bytes"},
		"xDS secret":         {func(c *Config) { c.XDS.Secret = "a\nb" }, "xDS secret is not printable ASCII"},
		"ready name":         {func(c *Config) { c.Ready = Address{"pod", 1} }, "ready address: "},
		"merge name":         {func(c *Config) { c.Prometheus.Merge.Host = "pod" }, "merge address: "},
		"scrape path":        {func(c *Config) { c.Prometheus.ScrapePath = "metrics" }, "does not begin with a slash"},
		"certificate alone":  {func(c *Config) { c.Prometheus.CertFile, c.Prometheus.CAFile = "c", "a" }, "certificate and key"},
		"key alone":          {func(c *Config) { c.Prometheus.KeyFile = "k" }, "certificate and key"},
		"certificate, no CA": {func(c *Config) { c.Prometheus.CertFile, c.Prometheus.KeyFile = "c", "k" }, "certificate and CA"},
		"CA alone":           {func(c *Config) { c.Prometheus.CADir, c.Prometheus.CABundle = "d", testCABundle }, "certificate and CA"},
		"no CA in the folder": {func(c *Config) {
			c.Prometheus.CertFile, c.Prometheus.KeyFile, c.Prometheus.CADir = "c", "k", "/certs/ca"
		}, "folder \"/certs/ca\" holds no CA certificate"},
		"two listeners a port": {func(c *Config) { c.Ready = Address{"0.0.0.0", 20200} }, "have the same address"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := testConfig()
			tt.change(&cfg)
			_, err := Build(cfg, testParams(map[string]any{keyPrometheusBindAddr: "0.0.0.0:20200"}))
			wantError(t, err, "build envoy bootstrap: ", tt.want)
		})
	}
}

// Errors are logged. The secret must not come out in one, not even where a template writes it.
func TestErrorsDoNotEchoTheXDSSecret(t *testing.T) {
	t.Parallel()
	cfg := testConfig()
	cfg.XDS.Secret = "s3cret-value"
	for _, tpl := range []string{
		`{{ .Token }}`, `{"a":{{ .Token }}}`, `{"a":"{{ .Token }}" "`, `["{{ .Token }}"]`, `{{ .Token.Nope }}`,
		`{{ template .Token }}`, `{{ index .Token 99 }}`, `{{ slice .Token 99 }}`,
	} {
		_, err := Build(cfg, testParams(map[string]any{keyTemplate: tpl}))
		wantError(t, err, keyTemplate)
		if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the secret is in the error: %v", tpl, err)
		}
	}
}

func TestSyntaxErrorsTellThePlace(t *testing.T) {
	t.Parallel()
	for key, value := range map[string]string{
		keyExtraClusters: `{"a":!}`, keyExtraListeners: ` {"a":`, keyTracing: `{"a":!}`, keyExtraSinks: `[{"":!}]`,
	} {
		want := ", at byte 6"
		if key == keyExtraListeners {
			want = ", at byte 7"
		}
		_, err := Build(testConfig(), testParams(map[string]any{key: value}))
		wantError(t, err, key, want)
	}
}
