// SPDX-License-Identifier: MPL-2.0

package lifecycle

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// statusTimeout bounds the making of all sections of /status.
const statusTimeout = 2 * time.Second

// Section is one part of /status.
type Section struct {
	// Name is its key in the JSON and its heading on the page: "envoy", "consul", "xds".
	Name string
	// Get gives its content: anything that encoding/json takes, nothing secret. It must end when ctx does. An error is
	// shown in the section's place and does not touch the others.
	Get func(ctx context.Context) (any, error)
}

// sectionError stands in the place of a section that could not be made.
type sectionError struct {
	Error string `json:"error"`
}

// made is a section with its content as JSON.
type made struct {
	name string
	json json.RawMessage
}

// status answers with all sections: a page for those who ask for HTML, JSON for all others.
func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), statusTimeout)
	defer cancel()
	sections := s.sections(ctx)
	w.Header().Set("Vary", "Accept")
	if !wantsHTML(r.Header.Get("Accept")) {
		document := make(map[string]json.RawMessage, len(sections))
		for _, sec := range sections {
			document[sec.name] = sec.json
		}
		writeJSON(w, http.StatusOK, document)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_, _ = w.Write(statusPage(sections))
}

// sections makes all sections at the same time, the server's own first.
func (s *Server) sections(ctx context.Context) []made {
	all := append([]Section{
		{"lifecycle", func(context.Context) (any, error) { return s.cfg.Drainer.State(), nil }},
		{"readiness", func(context.Context) (any, error) { return s.cfg.Readiness.State(), nil }},
	}, s.cfg.Status...)
	results := make([]made, len(all))
	var wg sync.WaitGroup
	for i, sec := range all {
		wg.Go(func() { results[i] = made{name: sec.Name, json: sec.encode(ctx)} })
	}
	wg.Wait()
	return results
}

// encode makes one section.
func (s Section) encode(ctx context.Context) json.RawMessage {
	content, err := s.Get(ctx)
	if err == nil {
		var encoded []byte
		if encoded, err = json.Marshal(content); err == nil {
			return encoded
		}
	}
	encoded, err := json.Marshal(sectionError{Error: err.Error()})
	if err != nil {
		return json.RawMessage(`null`) // a string can always be encoded
	}
	return encoded
}

// wantsHTML tells whether an Accept header names HTML with a weight that is not smaller than JSON's. curl's */* names
// neither, and gets JSON.
func wantsHTML(accept string) bool {
	html := weight(accept, "text/html")
	return html > 0 && html >= weight(accept, "application/json")
}

// weight is the q value of a media type that an Accept header names, 0 when it does not.
func weight(accept, mediaType string) float64 {
	for item := range strings.SplitSeq(accept, ",") {
		name, params, _ := strings.Cut(item, ";")
		if !strings.EqualFold(strings.TrimSpace(name), mediaType) {
			continue
		}
		for param := range strings.SplitSeq(params, ";") {
			if q, ok := strings.CutPrefix(strings.TrimSpace(param), "q="); ok {
				value, err := strconv.ParseFloat(q, 64)
				if err != nil {
					return 0
				}
				return value
			}
		}
		return 1
	}
	return 0
}
