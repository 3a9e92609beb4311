// SPDX-License-Identifier: MPL-2.0

package envoyend

import (
	"fmt"
	"net/http"
	"regexp"
	"sync"

	"podplane/integration/bench/scrapeend"
)

// admin is as much of Envoy's admin API as a dataplane needs:
// https://www.envoyproxy.io/docs/envoy/latest/operations/admin.
func (e *envoy) admin() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		state := e.state()
		if state != "LIVE" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprintln(w, state)
	})
	mux.HandleFunc("GET /server_info", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"version": "0/0.0.0-benchmark/Clean/RELEASE/none", "state": %q}`, e.state())
	})
	mux.HandleFunc("GET /stats", e.stats)
	// Made when it is asked for the first time: other measurements are not to carry it.
	series := sync.OnceValue(func() http.Handler { return scrapeend.Serve(scrapeend.Envoy(scrapeend.EnvoySeries)) })
	mux.HandleFunc("GET /stats/prometheus", func(w http.ResponseWriter, r *http.Request) { series().ServeHTTP(w, r) })
	for path, text := range map[string]string{
		"/certs":       `{"certificates": []}`,
		"/clusters":    `{"cluster_statuses": []}`,
		"/listeners":   `{"listener_statuses": []}`,
		"/config_dump": `{"configs": []}`,
	} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) })
	}
	mux.HandleFunc("POST /drain_listeners", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "OK") })
	mux.HandleFunc("POST /logging", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "OK") })
	mux.HandleFunc("POST /quitquitquit", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "OK")
		_ = http.NewResponseController(w).Flush() // before the connection ends with the process
		e.once.Do(func() { close(e.quit) })
	})
	return mux
}

func (e *envoy) state() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.live {
		return "LIVE"
	}
	return "INITIALIZING"
}

// stats has the few statistics by which a dataplane knows that Envoy is
// configured and idle.
func (e *envoy) stats(w http.ResponseWriter, r *http.Request) {
	filter, err := regexp.Compile(r.URL.Query().Get("filter"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	configured := 0
	if e.state() == "LIVE" {
		configured = 1
	}
	for _, name := range []string{"cluster_manager.cds.update_success", "listener_manager.lds.update_success"} {
		if filter.MatchString(name) {
			fmt.Fprintf(w, "%s: %d\n", name, configured)
		}
	}
	for _, name := range []string{"http.public_listener.downstream_rq_active", "listener.127.0.0.1_20000.downstream_cx_active"} {
		if filter.MatchString(name) {
			fmt.Fprintf(w, "%s: 0\n", name)
		}
	}
}
