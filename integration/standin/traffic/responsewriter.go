// SPDX-License-Identifier: MPL-2.0

package traffic

import "net/http"

// responseWriter notes what is sent downstream, and tells a client of a draining connection to leave.
type responseWriter struct {
	http.ResponseWriter
	exchange *exchange
	code     int
	written  int64
}

// WriteHeader implements http.ResponseWriter.
func (w *responseWriter) WriteHeader(code int) {
	x := w.exchange
	if code >= 200 || code == http.StatusSwitchingProtocols {
		w.code = code
		if x.hcm.leaving(x.conn) {
			// net/http turns this into GOAWAY on HTTP/2.
			w.Header().Set("Connection", "close")
			x.hcm.scope.Counter("downstream_cx_drain_close").Inc()
		}
		if x.hcm.proto.GetAlwaysSetRequestIdInResponse() {
			w.Header().Set("X-Request-Id", x.request.Header.Get("X-Request-Id"))
		}
	}
	w.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (w *responseWriter) Write(p []byte) (int, error) {
	if w.code == 0 {
		w.WriteHeader(http.StatusOK)
	}
	n, err := w.ResponseWriter.Write(p)
	w.written += int64(n)
	w.exchange.active()
	return n, err
}

// Unwrap lets http.ResponseController find Flush and Hijack.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
