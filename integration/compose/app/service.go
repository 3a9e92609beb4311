// SPDX-License-Identifier: MPL-2.0

package main

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// clientCertHeader is set by Envoy and names the caller, by the certificate with which it came:
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers#x-forwarded-client-cert.
const clientCertHeader = "X-Forwarded-Client-Cert"

// maxAnswer bounds what is read of an upstream's answer, in bytes.
const maxAnswer = 1 << 20

// service is the application.
type service struct {
	name, upstream string
	client         *http.Client
	requests       *prometheus.CounterVec
}

func newService(name, upstream string) http.Handler {
	s := &service{
		name: name, upstream: upstream,
		client: &http.Client{Timeout: requestTimeout},
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "example_requests_total", Help: "Requests answered, by status code.",
		}, []string{"code"}),
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(s.requests)
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("/", s.answer)
	return mux
}

func (s *service) answer(w http.ResponseWriter, r *http.Request) {
	code, text := s.compose(r)
	s.requests.WithLabelValues(strconv.Itoa(code)).Inc()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = fmt.Fprintln(w, text)
}

// compose gives the status and text of an answer: the upstream's if there is one, so that whoever asks sees what the
// mesh said.
func (s *service) compose(r *http.Request) (code int, text string) {
	if s.upstream == "" {
		text = "this is " + s.name
		if caller := caller(r.Header.Get(clientCertHeader)); caller != "" {
			text += ", called by " + caller
		}
		return http.StatusOK, text
	}
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, s.upstream, http.NoBody)
	if err != nil {
		return http.StatusInternalServerError, err.Error()
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return http.StatusBadGateway, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return http.StatusBadGateway, err.Error()
	}
	return resp.StatusCode, fmt.Sprintf("%s was answered: %s", s.name, body)
}

// caller gives the URI of the certificate in the last element of the header: the one that its own proxy appended.
func caller(header string) string {
	_, uri, _ := strings.Cut(header[strings.LastIndex(header, ",")+1:], "URI=")
	uri, _, _ = strings.Cut(uri, ";")
	return uri
}
