// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

var hostile = []string{
	"", " ", `"`, `\`, "\n", "\x00", "\xff\xfe", "\u2028", `","admin":{},"x":"`, "{{ . }}", "{{", "</script>", "[]", "{}",
	"null", "0", "1e999", "udp://10.0.0.1:8125", "unix:///s", "$HOST_IP", "udp://${HOST_IP}:1", "[::]:1", "0.0.0.0:0",
	"10s", "a=b", `{"name":"self_admin"}`, `{},{}`, `[{}]`, `{}],"y":[{}`, strings.Repeat("(", 2000),
}

// Whatever a single key holds, the outcome is a bootstrap, or an error that names the key. What is not a fragment also
// leaves the bootstrap valid by Envoy's rules.
func FuzzProxyConfigKey(f *testing.F) {
	keys := []string{
		keyStatsdURL, keyDogstatsdURL, keyStatsTags, keyPrometheusBindAddr, keyStatsBindAddr, keyStatsFlushInterval,
		keyCollectorSocketDir,
		// From here on the content is Envoy's to judge.
		keyExtraClusters, keyExtraListeners, keyExtraSinks, keyStatsConfig, keyTracing, keyTemplate,
	}
	const firstFragment = 7
	for _, value := range hostile {
		for i := range keys {
			f.Add(byte(i), value)
		}
	}
	f.Fuzz(func(t *testing.T, which byte, value string) {
		i := int(which) % len(keys)
		cfg := testConfig()
		cfg.Getenv = environment("HOST_IP=fd00::1")
		b, err := Build(cfg, testParams(map[string]any{keys[i]: value}))
		if err != nil {
			if !strings.Contains(err.Error(), fmt.Sprintf("proxy config key %q: ", keys[i])) {
				t.Fatalf("the error does not name %s: %v", keys[i], err)
			}
			return
		}
		if i < firstFragment {
			strictParse(t, b)
		}
		mustBeObject(t, b)
	})
}

// Names come from whoever may register a service. They can be anything, and must stay what they are.
func FuzzNames(f *testing.F) {
	for _, v := range hostile {
		f.Add("web-proxy", v, "/metrics", "")
		f.Add("x"+v, "web", "/"+v, v)
	}
	f.Fuzz(func(t *testing.T, proxyID, name, scrapePath, accessLog string) {
		cfg := testConfig()
		cfg.ProxyID = proxyID
		cfg.Prometheus.ScrapePath = scrapePath
		p := Params{
			Identity: name, Namespace: name, Partition: name, Datacenter: name, NodeName: name,
			ProxyConfig: map[string]any{keyPrometheusBindAddr: "0.0.0.0:20200"},
		}
		if accessLog != "" {
			p.AccessLogs = []string{accessLog}
		}
		b, err := Build(cfg, p)
		if err != nil {
			return
		}
		mustBeObject(t, b)
		if accessLog != "" {
			return
		}
		got := strictParse(t, b)
		if !sameText(got.GetNode().GetId(), proxyID) {
			t.Errorf("node.id %q, want %q", got.GetNode().GetId(), proxyID)
		}
		if !sameText(got.GetNode().GetCluster(), name) {
			t.Errorf("node.cluster %q, want %q", got.GetNode().GetCluster(), name)
		}
	})
}

// sameText compares but for invalid UTF-8, which JSON cannot carry.
func sameText(got, sent string) bool {
	b, err := json.Marshal(sent)
	if err != nil {
		return false
	}
	var want string
	return json.Unmarshal(b, &want) == nil && got == want
}

func mustBeObject(t *testing.T, b []byte) {
	t.Helper()
	var object map[string]json.RawMessage
	if err := json.Unmarshal(b, &object); err != nil {
		t.Fatalf("not an object: %v\n%s", err, b)
	}
}
