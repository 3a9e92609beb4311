// SPDX-License-Identifier: MPL-2.0

package metrics

import (
	"net/url"
	"time"

	"podplane/metrics/exposition"
)

// SourceStatus tells of one source of the merged endpoint.
type SourceStatus struct {
	Source string `json:"source"`
	URL    string `json:"url,omitempty"` // without what may be secret in it
	// Up is false before the first scrape as well; LastScrape then is zero.
	Up         bool      `json:"up"`
	Reason     string    `json:"reason,omitempty"` // of the last failure, as in the metrics
	LastScrape time.Time `json:"last_scrape,omitzero"`
	Seconds    float64   `json:"seconds"` // that the last scrape took
	// Samples and Bytes are those of the last scrape that succeeded.
	Samples int   `json:"samples"`
	Bytes   int64 `json:"bytes"`
}

// Status tells how the last scrape of each source went, own metrics first.
func (s *Server) Status() []SourceStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []SourceStatus{s.status[ownSource]}
	list[0].Source = ownSource
	for _, src := range s.sources {
		st := s.status[src.name]
		st.Source, st.URL = src.name, place(src.url)
		list = append(list, st)
	}
	return list
}

// place is u without user, password, query and fragment.
func place(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// remember keeps how the scrape of a source went, and returns why the one
// before failed.
func (s *Server) remember(source, why string, e *exposition.Exposition, took time.Duration) (before string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status[source]
	before = st.Reason
	st.Up, st.Reason, st.LastScrape, st.Seconds = e != nil, why, time.Now(), took.Seconds()
	if e != nil {
		st.Samples, st.Bytes = e.Samples(), e.Bytes()
	}
	s.status[source] = st
	return before
}
