// SPDX-License-Identifier: MPL-2.0

package selfregister

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// whole has every key once, in HCL; wholeJSON is the same in JSON, in the
// spelling of the API where that differs.
const whole = `
# A comment.
service {
  name = "web"
  id = "web-1"
  address = "10.0.0.1"
  port = 8080
  tags = ["a", "b"]
  meta { version = "1" }
  tagged_addresses { wan { address = "192.0.2.1" port = 80 } }
  weights { passing = 3 warning = 2 }
  locality { region = "r" zone = "z" }
  enable_tag_override = true
  namespace = "ns"
  partition = "part"
  check {
    id = "alive"
    name = "Alive"
    notes = "note"
    http = "https://localhost:8080/health"
    method = "post"
    header { X-A = ["1", "2"] }
    body = "b"
    disable_redirects = true
    tls_server_name = "web.example"
    tls_skip_verify = true
    interval = "10s"
    timeout = "2s"
    status = "passing"
    success_before_passing = 2
    failures_before_warning = 1
    failures_before_critical = 3
  }
  checks = [{ tcp = "localhost:8080", interval = "1m", tcp_use_tls = true }]
  connect {
    sidecar_service {
      port = 21000
      address = "10.0.0.2"
      proxy {
        mode = "transparent"
        local_service_address = "127.0.0.2"
        local_service_port = 8081
        config { protocol = "http" nested { a = [1, 2.5, true] } }
        mesh_gateway { mode = "local" }
        expose { paths { path = "/m" protocol = "http" listener_port = 21500 local_path_port = 9090 } }
        transparent_proxy { outbound_listener_port = 15001 dialed_directly = true }
        envoy_extensions = [{ name = "builtin/lua", required = true, arguments { Script = "x" } }]
        upstreams {
          destination_name = "api"
          local_bind_port = 9191
          config { connect_timeout_ms = 100 }
        }
        upstreams {
          destination_name = "db"
          destination_peer = "other"
          local_bind_socket_path = "/run/db"
          mesh_gateway { mode = "none" }
        }
      }
    }
  }
}
`

const wholeJSON = `{"services": [{
  "Name": "web", "ID": "web-1", "Address": "10.0.0.1", "Port": 8080, "Tags": ["a", "b"], "Meta": {"version": "1"},
  "TaggedAddresses": {"wan": {"Address": "192.0.2.1", "Port": 80}}, "Weights": {"Passing": 3, "Warning": 2},
  "Locality": {"Region": "r", "Zone": "z"}, "EnableTagOverride": true, "Namespace": "ns", "Partition": "part",
  "Kind": null,
  "Check": {"CheckID": "alive", "Name": "Alive", "Notes": "note", "HTTP": "https://localhost:8080/health", "Method": "post",
    "Header": {"X-A": ["1", "2"]}, "Body": "b", "DisableRedirects": true, "TLSServerName": "web.example", "TLSSkipVerify": true,
    "Interval": "10s", "Timeout": "2s", "Status": "passing", "SuccessBeforePassing": 2, "FailuresBeforeWarning": 1,
    "FailuresBeforeCritical": 3},
  "Checks": [{"TCP": "localhost:8080", "Interval": "1m", "TCPUseTLS": true}],
  "Connect": {"SidecarService": {"Port": 21000, "Address": "10.0.0.2", "Proxy": {
    "Mode": "transparent", "LocalServiceAddress": "127.0.0.2", "LocalServicePort": 8081,
    "Config": {"protocol": "http", "nested": {"a": [1, 2.5, true]}}, "MeshGateway": {"Mode": "local"},
    "Expose": {"Paths": [{"Path": "/m", "Protocol": "http", "ListenerPort": 21500, "LocalPathPort": 9090}]},
    "TransparentProxy": {"OutboundListenerPort": 15001, "DialedDirectly": true},
    "EnvoyExtensions": [{"Name": "builtin/lua", "Required": true, "Arguments": {"Script": "x"}}],
    "Upstreams": [
      {"DestinationName": "api", "LocalBindPort": 9191, "Config": {"connect_timeout_ms": 100}},
      {"DestinationName": "db", "DestinationPeer": "other", "LocalBindSocketPath": "/run/db", "MeshGateway": {"Mode": "none"}}
    ]}}}
}]}`

func wholeDefinition() *Definition {
	return &Definition{
		Name: "web", ID: "web-1", Address: "10.0.0.1", Port: 8080, Tags: []string{"a", "b"}, Meta: map[string]string{"version": "1"},
		TaggedAddresses: map[string]TaggedAddress{"wan": {"192.0.2.1", 80}}, Weights: &Weights{3, 2}, Locality: &Locality{"r", "z"},
		EnableTagOverride: true, Namespace: "ns", Partition: "part",
		Checks: []Check{{
			ID: "alive", Name: "Alive", Notes: "note", HTTP: "https://localhost:8080/health", Method: "post",
			Header: map[string][]string{"X-A": {"1", "2"}}, Body: "b", DisableRedirects: true, TLSServerName: "web.example",
			TLSSkipVerify: true, Interval: 10 * time.Second, Timeout: 2 * time.Second, Status: Passing,
			SuccessBeforePassing: 2, FailuresBeforeWarning: 1, FailuresBeforeCritical: 3,
		}, {
			ID: "service:web-1:2", Name: "service:web-1:2", TCP: "localhost:8080", TCPUseTLS: true, Interval: time.Minute,
			Timeout: 10 * time.Second, Status: Critical,
		}},
		Sidecar: Sidecar{
			Name: "web-sidecar-proxy", Address: "10.0.0.2", Port: 21000, Tags: []string{"a", "b"}, Meta: map[string]string{"version": "1"},
			Locality: &Locality{"r", "z"},
			Proxy: Proxy{
				DestinationServiceName: "web", DestinationServiceID: "web-1", LocalServiceAddress: "127.0.0.2", LocalServicePort: 8081,
				Mode:             "transparent",
				Config:           map[string]any{"protocol": "http", "nested": map[string]any{"a": []any{int64(1), 2.5, true}}},
				MeshGateway:      &MeshGateway{"local"},
				Expose:           &Expose{[]ExposedPath{{21500, "/m", 9090, "http"}}},
				TransparentProxy: &TransparentProxy{15001, true},
				EnvoyExtensions:  []EnvoyExtension{{Name: "builtin/lua", Required: true, Arguments: map[string]any{"Script": "x"}}},
				Upstreams: []Upstream{
					{DestinationName: "api", LocalBindPort: 9191, Config: map[string]any{"connect_timeout_ms": int64(100)}},
					{DestinationName: "db", DestinationPeer: "other", LocalBindSocketPath: "/run/db", MeshGateway: &MeshGateway{"none"}},
				},
			},
		},
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"s.hcl": whole, "s.json": wholeJSON, "hcl": whole, "json": wholeJSON} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), name)
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := Load(path)
			if err != nil {
				t.Fatal(err)
			}
			if want := wholeDefinition(); !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	large := filepath.Join(dir, "large.hcl")
	if err := os.WriteFile(large, []byte(strings.Repeat("# \n", maxFile)), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{filepath.Join(dir, "none"): "no such file", large: "has more than", dir: "is a directory"} {
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	d := mustParse(t, `service { name = "web" port = 80 connect { sidecar_service {} } check { tcp = "a:1" interval = "1s" } }`)
	if d.ID != "web" || d.ProxyID() != "web-sidecar-proxy" || d.Sidecar.Port != DefaultProxyPort || d.Sidecar.Name != "web-sidecar-proxy" {
		t.Errorf("got %+v", d)
	}
	if p := d.Sidecar.Proxy; p.LocalServiceAddress != "127.0.0.1" || p.LocalServicePort != 80 || p.DestinationServiceID != "web" {
		t.Errorf("the proxy is %+v", p)
	}
	if c := d.Checks[0]; c.ID != "service:web" || c.Status != Critical || c.Timeout != 10*time.Second {
		t.Errorf("the check is %+v", c)
	}
	d = mustParse(t, `service { name = "web" socket_path = "/run/web" connect { sidecar_service {} } }`)
	if p := d.Sidecar.Proxy; p.LocalServiceSocketPath != "/run/web" || p.LocalServiceAddress != "" {
		t.Errorf("the proxy of a socket is %+v", p)
	}
	d = mustParse(t, `service { name = "client" connect { sidecar_service {} } }`)
	if p := d.Sidecar.Proxy; p.LocalServiceAddress != "" || p.LocalServicePort != 0 {
		t.Errorf("the proxy of a mere client is %+v", p)
	}
}

// TestFaults: what is wrong and where.
func TestFaults(t *testing.T) {
	t.Parallel()
	const ok = `name = "web" connect { sidecar_service {} }`
	deep := strings.Repeat("[", maxDepth+2) + strings.Repeat("]", maxDepth+2)
	cases := map[string]struct {
		text string
		want []string
	}{
		"empty":               {"", []string{":1: service: is missing"}},
		"unknown at top":      {"servce {}\n", []string{":1: servce: unknown key; known here: service, services"}},
		"unknown key":         {"service {\n" + ok + "\n\n  prot = 1\n}", []string{":4: service[0].prot: unknown key", "port"}},
		"unknown in JSON":     {"{\"service\":\n {\"name\": \"w\",\n\"prot\": 1, \"connect\": {\"sidecar_service\": {}}}}", []string{":3: service[0].prot: unknown key"}},
		"two":                 {"service { " + ok + " }\nservice { " + ok + " }", []string{":2:", "is a second service"}},
		"no name":             {"service { connect { sidecar_service {} } }", []string{"service[0].name: is required"}},
		"no sidecar":          {`service { name = "w" }`, []string{"connect.sidecar_service: is required"}},
		"not an object":       {`service = 1`, []string{"must be an object, not a number"}},
		"a list of JSON":      {`[1]`, []string{"expected"}},
		"top is text":         {`"x"`, []string{"HCL"}},
		"text for port":       {`service { port = "80" ` + ok + ` }`, []string{"port: must be a whole number from 0 to 65535"}},
		"port out of range":   {`service { port = 65536 ` + ok + ` }`, []string{"port: must be a whole number"}},
		"a fraction":          {`service { port = 1.5 ` + ok + ` }`, []string{"port: must be a whole number"}},
		"twice":               {"service {\n name = \"a\"\n name = \"b\"\n connect { sidecar_service {} } }", []string{":3: service[0].name: is there twice, first in line 2"}},
		"twice in JSON":       {`{"service": {"name": "a", "name": "b"}}`, []string{`the key "name" is there twice`}},
		"two spellings":       {`service { Name = "a" ` + ok + ` }`, []string{"is there twice"}},
		"a token":             {`service { token = "s3cret" ` + ok + ` }`, []string{"service[0].token: is not supported: podplane uses the token of its own session"}},
		"TTL":                 {"service { " + ok + "\ncheck { ttl = \"10s\" } }", []string{":2: service[0].check[0].ttl: is not supported", "http or tcp", "exactly one"}},
		"no interval":         {`service { check { tcp = "a:1" } ` + ok + ` }`, []string{"check[0].interval: is required"}},
		"short interval":      {`service { check { tcp = "a:1" interval = "1ms" } ` + ok + ` }`, []string{"must be a duration from 1s"}},
		"two kinds":           {`service { check { tcp = "a:1" http = "http://a" interval = "1s" } ` + ok + ` }`, []string{"exactly one of http and tcp"}},
		"URL":                 {`service { check { http = "a/b" interval = "1s" } ` + ok + ` }`, []string{"an absolute http:// or https:// URL"}},
		"password in URL":     {`service { check { http = "http://u:s3cret@a" interval = "1s" } ` + ok + ` }`, []string{"without user and password"}},
		"method":              {`service { check { http = "http://a" method = "a b" interval = "1s" } ` + ok + ` }`, []string{"is no HTTP method"}},
		"TCP":                 {`service { check { tcp = "a" interval = "1s" } ` + ok + ` }`, []string{"must be host:port"}},
		"status":              {`service { check { tcp = "a:1" interval = "1s" status = "good" } ` + ok + ` }`, []string{"must be passing, warning or critical"}},
		"equal check IDs":     {`service { check { id = "a" tcp = "a:1" interval = "1s" } checks = [{ id = "a" tcp = "a:1" interval = "1s" }] ` + ok + ` }`, []string{`two of them have the ID "a"`}},
		"a default check ID":  {`service { checks = [{ id = "service:web:2" tcp = "a:1" interval = "1s" }, { tcp = "a:2" interval = "1s" }] ` + ok + ` }`, []string{`two of them have the ID "service:web:2"`}},
		"our own check ID":    {`service { check { id = "podplane-ready:web" tcp = "a:1" interval = "1s" } ` + ok + ` }`, []string{`two of them have the ID "podplane-ready:web"`, "podplane's own"}},
		"check ID":            {`service { check { id = "a b" tcp = "a:1" interval = "1s" } ` + ok + ` }`, []string{"without white space"}},
		"header":              {`service { check { http = "http://a" interval = "1s" header { A = "b" } } ` + ok + ` }`, []string{"header.A: must be a list of strings"}},
		"tags":                {`service { tags = [1] ` + ok + ` }`, []string{"must be a list of strings, one is a number"}},
		"meta":                {`service { meta { a = 1 } ` + ok + ` }`, []string{"meta.a: must be a string, not a number"}},
		"own meta":            {`service { meta { managed-by = "me" } ` + ok + ` }`, []string{"meta.managed-by: is a key that podplane marks"}},
		"name with a space":   {`service { name = "a b" connect { sidecar_service {} } }`, []string{"name: must be without white space"}},
		"wildcard address":    {`service { address = "0.0.0.0" ` + ok + ` }`, []string{"at which others reach the machine"}},
		"bad address":         {`service { address = "a b" ` + ok + ` }`, []string{"an IP address or a DNS name"}},
		"mode":                {`service { name = "w" connect { sidecar_service { proxy { mode = "x" } } } }`, []string{"must be direct or transparent"}},
		"upstream, no name":   {`service { name = "w" connect { sidecar_service { proxy { upstreams { local_bind_port = 1 } } } } }`, []string{"upstreams[0].destination_name: is required"}},
		"upstream, no port":   {`service { name = "w" connect { sidecar_service { proxy { upstreams { destination_name = "a" } } } } }`, []string{"local_bind_port: is required"}},
		"upstreams of texts":  {`service { name = "w" connect { sidecar_service { proxy { upstreams = ["a"] } } } }`, []string{"must be an object, not a string"}},
		"proxy's destination": {`service { name = "w" connect { sidecar_service { proxy { destination_service_name = "a" } } } }`, []string{"it follows from the service"}},
		"boolean":             {`service { enable_tag_override = "yes" ` + ok + ` }`, []string{"must be true or false, not a string"}},
		"text":                {`service { address = true ` + ok + ` }`, []string{"must be a string, not a boolean"}},
		"object":              {`service { weights = [1, 2] ` + ok + ` }`, []string{"must be one object, not a list"}},
		"HCL syntax":          {"service {\n  name = \n}", []string{":3: HCL: "}},
		"JSON syntax":         {"{\"service\": {\n\"name\" 1}}", []string{":2: JSON: "}},
		"JSON cut off":        {"{\"service\": {\n", []string{":2: JSON: the file ends too early"}},
		"JSON and more":       {"{} {}", []string{"more after the end"}},
		"JSON number":         {`{"service": 1e999}`, []string{"too large"}},
		"HCL number":          {`service { port = 99999999999999999999 ` + ok + ` }`, []string{"cannot read"}},
		"deep":                {`service { a = ` + deep + ` }`, []string{"nested more than"}},
		"deep in JSON":        {`{"service": ` + deep + `}`, []string{"nested more than"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse("svc", []byte(tc.text))
			if err == nil {
				t.Fatal("it is taken")
			}
			for _, want := range append(tc.want, "svc:") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("without %q: %v", want, err)
				}
			}
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("a secret is shown: %v", err)
			}
		})
	}
}

// TestManyChecks: each check is a goroutine.
func TestManyChecks(t *testing.T) {
	t.Parallel()
	check := `check { tcp = "a:1" interval = "1s" }` + "\n"
	_, err := Parse("svc.hcl", []byte(`service { name = "w" connect { sidecar_service {} } `+strings.Repeat(check, maxChecks+1)+"}"))
	if err == nil || !strings.Contains(err.Error(), "must be at most 64") {
		t.Errorf("got %v", err)
	}
}

// FuzzParse: no text makes it panic, and what is taken is complete.
func FuzzParse(f *testing.F) {
	f.Add([]byte(whole), true)
	f.Add([]byte(wholeJSON), false)
	f.Add([]byte(`service "a" "b" { x = <<EOT`+"\ny\nEOT\n}"), true)
	f.Add([]byte(`service { port = 0x10 a = "${b}" }`), true)
	f.Fuzz(func(t *testing.T, data []byte, hcl bool) {
		if len(data) > maxFile {
			return
		}
		name := "s.json"
		if hcl {
			name = "s.hcl"
		}
		d, err := Parse(name, data)
		if err != nil {
			return
		}
		if d.Name == "" || d.ID == "" || d.Sidecar.Port == 0 || d.Sidecar.Proxy.DestinationServiceName != d.Name {
			t.Errorf("incomplete: %+v", d)
		}
		newBoard(d)
	})
}
