// SPDX-License-Identifier: MPL-2.0

package lifecycle

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// routes are the endpoints, behind the guard.
func (s *Server) routes() (http.Handler, error) {
	get := []string{http.MethodGet, http.MethodHead}
	type endpoint struct {
		path    string
		methods []string
		handle  http.HandlerFunc
	}
	endpoints := []endpoint{
		// GET is there for clients of the reference implementation, which takes any method.
		{s.cfg.ShutdownPath, []string{http.MethodGet, http.MethodPost}, s.gracefulShutdown},
		{s.cfg.StartupPath, []string{http.MethodGet, http.MethodPost}, s.gracefulStartup},
		{"/live", get, s.live},
		{"/ready", get, s.ready},
		{"/status", get, s.status},
	}
	if s.cfg.LogLevel != nil {
		endpoints = append(endpoints, endpoint{LogLevelPath, []string{http.MethodPost}, s.logLevel})
	}
	// An own table instead of http.ServeMux: configured paths are plain paths, not the mux's patterns.
	table := make(map[string]http.HandlerFunc, len(endpoints))
	for _, e := range endpoints {
		if !strings.HasPrefix(e.path, "/") || strings.ContainsAny(e.path, "?#") {
			return nil, fmt.Errorf("lifecycle: %q is not a path that starts with /", e.path)
		}
		if table[e.path] != nil {
			return nil, fmt.Errorf("lifecycle: two endpoints have the path %q", e.path)
		}
		table[e.path] = only(e.methods, e.handle)
	}
	return guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if handle := table[r.URL.Path]; handle != nil {
			handle(w, r)
			return
		}
		http.NotFound(w, r)
	})), nil
}

// only answers other methods with 405.
func only(methods []string, handle http.HandlerFunc) http.HandlerFunc {
	allow := strings.Join(methods, ", ")
	return func(w http.ResponseWriter, r *http.Request) {
		if slices.Contains(methods, r.Method) {
			handle(w, r)
			return
		}
		w.Header().Set("Allow", allow)
		http.Error(w, "method not allowed, use "+allow, http.StatusMethodNotAllowed)
	}
}

// guard keeps web pages out. The API has no credentials: being in the pod is the permission. A page in a browser that
// can reach it is not in the pod, neither by a request across origins nor by a DNS name that its author has pointed at
// loopback.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		site := r.Header.Get("Sec-Fetch-Site")
		fromPage := r.Header.Get("Origin") != "" || (site != "" && site != "none" && site != "same-origin")
		if fromPage || !hostAllowed(r) {
			http.Error(w, "requests of web pages are not served", http.StatusForbidden)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

// hostAllowed refuses names other than localhost for requests over loopback. On other addresses a name is legitimate:
// that of a container or a host.
func hostAllowed(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok || !local.IP.IsLoopback() {
		return true
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	if host == "" || strings.EqualFold(host, "localhost") {
		return true
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}

// writeJSON answers with v. It ends in a newline, for curl.
func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the client may be gone; nothing depends on it
}
