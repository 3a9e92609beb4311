// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func sampleEntry() *logEntry {
	req := httptest.NewRequest(http.MethodGet, "http://h.test/path?q", nil)
	req.Header.Set("User-Agent", "curl")
	return &logEntry{
		conn: &downstream{
			id: 7, remote: netip.MustParseAddrPort("10.0.0.1:5000"), local: netip.MustParseAddrPort("10.0.0.2:80"), sni: "s.test", details: "term",
		},
		request: req, original: "/before", response: http.Header{"X-A": {"1", "2"}}, trailers: http.Header{"T": {"t"}}, code: 200, flags: "UF",
		details: "via_upstream", received: 3, sent: 4, start: time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC), duration: 12 * time.Millisecond,
		route: "r", cluster: "c", upstream: "10.0.0.3:90", failure: "why", protocol: "HTTP/1.1",
	}
}

func TestFormat(t *testing.T) {
	t.Parallel()
	for format, want := range map[string]string{
		"plain": "plain", "100%%": "100%", "%START_TIME%": "2026-01-02T03:04:05.678Z", "%START_TIME(%Y/%m/%d %T.%3f)%": "2026/01/02 03:04:05.678",
		"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%": "GET /before HTTP/1.1", "%REQ(:PATH)%": "/path?q", "%REQ(:AUTHORITY)%": "h.test",
		"%REQ(X-NONE?USER-AGENT)%": "curl", "%REQ(X-NONE)%": "-", "%REQ(USER-AGENT):2%": "cu", "%RESP(X-A)%": "1,2", "%TRAILER(t)%": "t",
		"%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION%": "200 UF 3 4 12", "%CONNECTION_ID%": "7",
		"%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% %ROUTE_NAME%": "via_upstream term r", "%UPSTREAM_HOST% %UPSTREAM_CLUSTER% %UPSTREAM_TRANSPORT_FAILURE_REASON%": "10.0.0.3:90 c why",
		"%REQUESTED_SERVER_NAME% %DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_LOCAL_ADDRESS%": "s.test 10.0.0.1:5000 10.0.0.1 10.0.0.2:80",
		"%DOWNSTREAM_TLS_VERSION%%DOWNSTREAM_PEER_SUBJECT%%DOWNSTREAM_PEER_URI_SAN%%UPSTREAM_LOCAL_ADDRESS%":                      "----",
	} {
		f, err := newFormatter(format)
		if err != nil {
			t.Errorf("%s: %v", format, err)
			continue
		}
		if got := f.text(sampleEntry()); got != want {
			t.Errorf("%s: %q, want %q", format, got, want)
		}
	}
	for _, bad := range []string{"%NOTHING%", "%REQ(", "%DURATION:x%", "50% off"} {
		if _, err := newFormatter(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func FuzzFormat(f *testing.F) {
	f.Add(defaultLogFormat)
	f.Add("%START_TIME(%s%3f)%%REQ(A?B):3%%%")
	f.Fuzz(func(_ *testing.T, format string) {
		if compiled, err := newFormatter(format); err == nil {
			compiled.text(sampleEntry())
		}
	})
}

// TestAccessLogs writes a text log, a JSON log and a filtered one to files.
func TestAccessLogs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, format, filter string) string {
		return `{"name":"` + name + `",` + filter + `"typed_config":{"@type":"type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog","path":"` + dir + "/" + name + `"` + format + `}}`
	}
	logs := strings.Join([]string{
		file("text", `,"log_format":{"text_format_source":{"inline_string":"%REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_FLAGS%\n"}}`, ""),
		file("json", `,"log_format":{"json_format":{"code":"%RESPONSE_CODE%","path":"p %REQ(:PATH)%","none":"%REQ(NONE)%","n":5,"list":["a"],"deep":{"m":"%REQ(:METHOD)%"}}}`, ""),
		file("lean", `,"log_format":{"omit_empty_values":true,"json_format":{"none":"%REQ(NONE)%"}}`, ""),
		file("default", "", ""),
		file("old", `,"format":"old\n"`, ""),
		file("oldjson", `,"typed_json_format":{"c":"%RESPONSE_CODE%"}`, ""),
		file("flagged", `,"log_format":{"text_format":"flagged\n"}`, `"filter":{"or_filter":{"filters":[{"response_flag_filter":{"flags":["UH"]}},{"and_filter":{"filters":[{"response_flag_filter":{}},{"response_flag_filter":{"flags":["NR"]}}]}}]}},`),
		`{"name":"out","filter":{"response_flag_filter":{"flags":["DT"]}},"typed_config":{"@type":"type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"}}`,
		`{"name":"err","filter":{"response_flag_filter":{"flags":["DT"]}},"typed_config":{"@type":"type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StderrAccessLog"}}`,
	}, ",")
	f := newFront(t, `{"match":{"prefix":"/ok"},"direct_response":{"status":200}}`, "", `,"access_log":[`+logs+`]`)
	get(t, client(t), f.base+"/ok")
	get(t, client(t), f.base+"/lost")
	read := func(name string, lines int) []string {
		t.Helper()
		var text string
		eventually(t, name, func() bool {
			b, err := os.ReadFile(filepath.Join(dir, name))
			text = string(b)
			return err == nil && strings.Count(text, "\n") >= lines
		})
		return strings.Split(strings.TrimSpace(text), "\n")
	}
	if got := strings.Join(read("text", 2), "|"); got != "/ok 200 -|/lost 404 NR" {
		t.Errorf("text: %q", got)
	}
	var entry map[string]any
	if err := json.Unmarshal([]byte(read("json", 2)[1]), &entry); err != nil {
		t.Fatal(err)
	}
	if entry["code"] != 404.0 || entry["path"] != "p /lost" || entry["none"] != nil || entry["n"] != 5.0 || entry["deep"].(map[string]any)["m"] != "GET" {
		t.Errorf("json: %v", entry)
	}
	for name, want := range map[string]string{"lean": "{}", "old": "old", "oldjson": `{"c":200}`, "flagged": "flagged"} {
		lines := 2
		if name == "flagged" {
			lines = 1
		}
		if got := read(name, lines); got[0] != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := read("default", 2)[0]; !strings.Contains(got, `"GET /ok HTTP/1.1" 200 - 0 0 `) {
		t.Errorf("default: %q", got)
	}
}

func TestHeaderEdits(t *testing.T) {
	t.Parallel()
	f := newFront(t, `{"match":{"prefix":"/"},"direct_response":{"status":200},"response_headers_to_add":[`+
		`{"header":{"key":"a","value":"1"}},{"header":{"key":"a","value":"2"}},{"header":{"key":"a","value":"3"},"append_action":"ADD_IF_ABSENT"},`+
		`{"header":{"key":"b","value":"1"},"append_action":"OVERWRITE_IF_EXISTS"},{"header":{"key":"c","raw_value":"Yw=="},"append":false},`+
		`{"header":{"key":"d","value":""}},{"header":{"key":"e","value":""},"keep_empty_value":true}]`+"}", "", `,"always_set_request_id_in_response":true,"server_name":"mine"`)
	_, _, h := get(t, client(t), f.base)
	if strings.Join(h["A"], ",") != "1,2" || h["B"] != nil || h.Get("C") != "c" || h["D"] != nil || h["E"] == nil || h.Get("Server") != "mine" || h.Get("X-Request-Id") == "" {
		t.Errorf("%v", h)
	}
}
