// SPDX-License-Identifier: MPL-2.0

package admin

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// route is one path of the endpoint.
type route struct {
	path    string
	help    string
	mutates bool // POST only
	serve   http.HandlerFunc
}

func (s *Server) table() []route {
	return []route{
		{"/", "Admin home page", false, s.home},
		{"/certs", "print certs on machine", false, s.certs},
		{"/clusters", "upstream cluster status", false, s.clusters},
		{"/config_dump", "dump current Envoy configs (experimental)", false, s.configDump},
		{"/drain_listeners", "drain listeners", true, s.drainListeners},
		{"/healthcheck/fail", "cause the server to fail health checks", true, s.healthcheckFail},
		{"/healthcheck/ok", "cause the server to pass health checks", true, s.healthcheckOK},
		{"/help", "print out list of admin commands", false, s.help},
		{"/hot_restart_version", "print the hot restart compatibility version", false, s.hotRestartVersion},
		{"/listeners", "print listener info", false, s.listeners},
		{"/logging", "query/change logging levels", true, s.logging},
		{"/memory", "print current allocation/heap usage", false, s.memory},
		{"/quitquitquit", "exit the server", true, s.quit},
		{"/ready", "print server state, return 200 if LIVE, otherwise return 503", false, s.ready},
		{"/reset_counters", "reset all counters to zero", true, s.resetCounters},
		{"/server_info", "print server version/status information", false, s.serverInfo},
		{"/stats", "print server stats", false, s.stats},
		{"/stats/prometheus", "print server stats in prometheus format", false, s.prometheus},
	}
}

// ServeHTTP finds the path and answers. It implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.counters.begin()
	started := time.Now()
	answer := &recorder{ResponseWriter: w, code: http.StatusOK}
	header := w.Header()
	header.Set("Content-Type", "text/plain; charset=UTF-8")
	header.Set("Cache-Control", "no-cache, max-age=0")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Server", "envoy")
	s.route(answer, r)
	s.counters.end(answer.code)
	s.logAccess(r, answer, started)
}

func (s *Server) route(w http.ResponseWriter, r *http.Request) {
	for _, route := range s.routes {
		if route.path != r.URL.Path {
			continue
		}
		if route.mutates && r.Method != http.MethodPost {
			s.cfg.Logger.Error("admin path mutates state, use POST", "path", route.path, "method", r.Method)
			w.Header().Set("Allow", http.MethodPost)
			w.WriteHeader(http.StatusMethodNotAllowed)
			write(w, fmt.Sprintf("Method %s not allowed, POST required.", r.Method))
			return
		}
		s.cfg.Logger.Debug("request complete", "path", r.URL.Path)
		route.serve(w, r)
		return
	}
	w.WriteHeader(http.StatusNotFound)
	write(w, "invalid path. "+s.commands())
}

// commands lists the paths as /help prints them.
func (s *Server) commands() string {
	var b strings.Builder
	b.WriteString("admin commands are:\n")
	for _, route := range s.routes {
		method := ""
		if route.mutates {
			method = " (POST)"
		}
		fmt.Fprintf(&b, "  %s%s: %s\n", route.path, method, route.help)
	}
	return b.String()
}

func (s *Server) help(w http.ResponseWriter, _ *http.Request) { write(w, s.commands()) }

func (s *Server) home(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	var b strings.Builder
	b.WriteString("<!DOCTYPE html><html lang='en'><head><title>Envoy Admin</title></head><body><table>")
	for _, route := range s.routes {
		if route.path != "/" {
			fmt.Fprintf(&b, "<tr><td><a href='%s'>%s</a></td><td>%s</td></tr>", route.path[1:], route.path[1:], route.help)
		}
	}
	b.WriteString("</table></body></html>\n")
	write(w, b.String())
}

// recorder notes what was answered, for the access log and the counters.
type recorder struct {
	http.ResponseWriter
	code  int
	bytes int
}

// WriteHeader notes the status.
func (r *recorder) WriteHeader(code int) {
	r.code = code
	r.ResponseWriter.WriteHeader(code)
}

// Write counts the body.
func (r *recorder) Write(p []byte) (int, error) {
	n, err := r.ResponseWriter.Write(p)
	r.bytes += n
	return n, err
}

// write sends text. A client that has gone away is nobody's error.
func write(w http.ResponseWriter, text string) { _, _ = w.Write([]byte(text)) }

// logAccess writes a line in Envoy's default format.
// Source: https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage
func (s *Server) logAccess(r *http.Request, a *recorder, started time.Time) {
	if s.cfg.AccessLog == nil {
		return
	}
	dash := func(text string) string {
		if text == "" {
			return "-"
		}
		return text
	}
	_, err := fmt.Fprintf(s.cfg.AccessLog, "[%s] \"%s %s %s\" %d - %d %d %d - \"%s\" \"%s\" \"-\" \"%s\" \"-\"\n",
		started.UTC().Format("2006-01-02T15:04:05.000Z"), r.Method, r.URL.RequestURI(), r.Proto, a.code, max(0, r.ContentLength),
		a.bytes, time.Since(started).Milliseconds(), dash(r.Header.Get("X-Forwarded-For")), dash(r.UserAgent()), dash(r.Host))
	if err != nil {
		s.cfg.Logger.Debug("access log", "error", err)
	}
}
