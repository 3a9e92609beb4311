// SPDX-License-Identifier: MPL-2.0

package metrics

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestStatus(t *testing.T) {
	t.Parallel()
	application := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
	}))
	t.Cleanup(application.Close)
	host := strings.TrimPrefix(application.URL, "http://")
	s, url := startServer(t, Config{
		Registry:        prometheus.NewRegistry(),
		EnvoyURL:        serveBytes(t, []byte("envoy_x 1\nenvoy_y 2\n")),
		ApplicationURLs: []string{"http://user:hidden@" + host + "/metrics?token=hidden"},
	})
	for _, st := range s.Status() {
		if st.Up || !st.LastScrape.IsZero() {
			t.Errorf("before the first scrape: %+v", st)
		}
	}
	get(t, url)
	st := s.Status()
	if len(st) != 3 {
		t.Fatalf("%+v", st)
	}
	if own := st[0]; own.Source != "podplane" || !own.Up || own.URL != "" || own.Samples == 0 {
		t.Errorf("own: %+v", own)
	}
	if envoy := st[1]; envoy.Source != "envoy" || !envoy.Up || envoy.Samples != 2 || envoy.Bytes != 20 || envoy.LastScrape.IsZero() {
		t.Errorf("envoy: %+v", envoy)
	}
	if app := st[2]; app.Source != "application" || app.Up || app.Reason != "status" || app.URL != "http://"+host+"/metrics" {
		t.Errorf("application: %+v", app)
	}
}
