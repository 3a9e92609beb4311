// SPDX-License-Identifier: MPL-2.0

package lifecycle

import (
	"net/http"
	"strings"
	"testing"
)

func TestMethodsAndPaths(t *testing.T) {
	t.Parallel()
	s := serve(t, func(_ *DrainConfig, c *ServerConfig) { c.ShutdownPath, c.StartupPath = "/bye", "/hello{x}" })
	close(s.live)
	for request, want := range map[string]struct {
		status int
		allow  string
	}{
		"PUT /bye":               {405, "GET, POST"},
		"DELETE /hello{x}":       {405, "GET, POST"},
		"POST /ready":            {405, "GET, HEAD"},
		"POST /status":           {405, "GET, HEAD"},
		"HEAD /live":             {200, ""},
		"GET /hello{x}":          {200, ""},
		"POST /hello{x}":         {200, ""},
		"GET /graceful_shutdown": {404, ""},
		"GET /":                  {404, ""},
	} {
		method, path, _ := strings.Cut(request, " ")
		a := s.do(t, method, path, nil)
		if a.status != want.status || a.header.Get("Allow") != want.allow {
			t.Errorf("%s gave %d, Allow %q; want %d, %q", request, a.status, a.header.Get("Allow"), want.status, want.allow)
		}
	}
	if got := s.drainer.State().State; got != Running {
		t.Errorf("a refused request began a shutdown: %s", got)
	}
}

func TestWebPagesAreKeptOut(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	for name, tc := range map[string]struct {
		header map[string]string
		want   int
	}{
		"plain client":            {nil, 200},
		"localhost":               {map[string]string{"Host": "localhost:20600"}, 200},
		"address":                 {map[string]string{"Host": "10.1.2.3:20600"}, 200},
		"IPv6 address":            {map[string]string{"Host": "[::1]"}, 200},
		"typed into a browser":    {map[string]string{"Sec-Fetch-Site": "none"}, 200},
		"page of another origin":  {map[string]string{"Origin": "https://evil.example"}, 403},
		"opaque origin":           {map[string]string{"Origin": "null"}, 403},
		"image on another site":   {map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		"name pointed at us":      {map[string]string{"Host": "evil.example:20600"}, 403},
		"name that looks like us": {map[string]string{"Host": "127.0.0.1.evil.example"}, 403},
	} {
		if a := s.do(t, http.MethodGet, "/live", tc.header); a.status != tc.want {
			t.Errorf("%s: got %d, want %d", name, a.status, tc.want)
		}
	}
}
