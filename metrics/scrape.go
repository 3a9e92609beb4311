// SPDX-License-Identifier: MPL-2.0

package metrics

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"podplane/metrics/exposition"
)

// ownSource is the name of the source that is the registry.
const ownSource = "podplane"

// serve answers one scrape.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	client, sources := scrapeTimeout(r.Header, s.cfg.Timeout)
	begun := time.Now()
	ctx, cancel := context.WithDeadline(r.Context(), begun.Add(sources))
	defer cancel()
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		w.Header().Set("Retry-After", "1")
		s.refuse(w, "too many scrapes under way", http.StatusServiceUnavailable)
		return
	}
	// A client that stops reading must not keep its slot.
	_ = http.NewResponseController(w).SetWriteDeadline(begun.Add(client + time.Second))

	accept := parseAccept(r.Header)
	results := s.collect(ctx, request{
		accept: accept.ask(),
		query:  r.URL.RawQuery,
		opts:   exposition.Options{MaxBytes: s.cfg.MaxSourceBytes, Pool: &s.pool},
	})
	defer func() {
		for _, src := range results {
			src.Exposition.Close()
		}
		s.trim.Reset(keepMemory)
	}()
	if r.Context().Err() != nil {
		return
	}
	if len(results) == 0 {
		s.refuse(w, "no source of metrics works", http.StatusServiceUnavailable)
		return
	}
	s.metrics.requests.WithLabelValues("200").Inc()
	s.answer(w, r, accept.format(results), results)
}

func (s *Server) refuse(w http.ResponseWriter, why string, code int) {
	s.metrics.requests.WithLabelValues(strconv.Itoa(code)).Inc()
	http.Error(w, why, code)
}

// collect scrapes all sources at once and returns those that worked, own
// metrics first. Those are gathered last, to tell of this scrape's sources.
func (s *Server) collect(ctx context.Context, r request) []exposition.Source {
	found := make([]*exposition.Exposition, len(s.sources))
	var wg sync.WaitGroup
	for i, src := range s.sources {
		wg.Go(func() {
			begun := time.Now()
			e, err := src.scrape(ctx, s.client, r)
			s.note(ctx, src.name, e, err, time.Since(begun))
			found[i] = e
		})
	}
	wg.Wait()
	var results []exposition.Source
	begun := time.Now()
	own, err := gather(s.cfg.Registry)
	s.note(ctx, ownSource, own, err, time.Since(begun))
	if own != nil {
		results = append(results, exposition.Source{Name: ownSource, Exposition: own})
	}
	for i, e := range found {
		if e != nil {
			results = append(results, exposition.Source{Name: s.sources[i].name, Exposition: e})
		}
	}
	return results
}

// note counts how the scrape of a source went, and logs when that changes.
func (s *Server) note(ctx context.Context, source string, e *exposition.Exposition, err error, took time.Duration) {
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return // The client has gone; this says nothing about the source.
	}
	m := s.metrics
	m.duration.WithLabelValues(source).Set(took.Seconds())
	up := m.up.WithLabelValues(source)
	if e != nil {
		m.samples.WithLabelValues(source).Set(float64(e.Samples()))
		m.bytes.WithLabelValues(source).Set(float64(e.Bytes()))
		up.Set(1)
	} else {
		up.Set(0)
	}
	why := ""
	if err != nil {
		why = reason(err)
		m.failures.WithLabelValues(source, why).Inc()
	}
	switch before := s.remember(source, why, e, took); {
	case why == before:
		if err != nil {
			s.log.Debug("metrics source still fails", "source", source, "error", err)
		}
	case why != "":
		s.log.Warn("metrics source fails", "source", source, "reason", why, "error", err)
	default:
		s.log.Info("metrics source works again", "source", source)
	}
}

// answer merges the sources and writes the result.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, format exposition.Format, sources []exposition.Source) {
	merged := exposition.Merge(format, sources...)
	for _, rename := range merged.Renames() {
		s.metrics.renamed.WithLabelValues(rename.Source).Inc()
		s.warnRename(rename)
	}
	h := w.Header()
	h.Set("Content-Type", format.ContentType())
	h.Add("Vary", "Accept")
	h.Add("Vary", "Accept-Encoding")
	out := io.Writer(w)
	var zip *gzip.Writer
	if acceptsGzip(r.Header) {
		h.Set("Content-Encoding", "gzip")
		zip, _ = gzip.NewWriterLevel(w, gzip.BestSpeed)
		out = zip
	}
	if r.Method == http.MethodHead {
		return
	}
	stats, err := merged.Write(out)
	for source, n := range stats.Duplicates {
		s.metrics.duplicates.WithLabelValues(source).Add(float64(n))
	}
	if err == nil && zip != nil {
		err = zip.Close()
	}
	if err != nil {
		s.log.Debug("merged metrics not delivered", "error", err)
		// The status is sent already; only a broken connection says that this
		// is not the whole answer.
		panic(http.ErrAbortHandler)
	}
}

// maxWarned bounds the memory of what has been warned of.
const maxWarned = 1000

// warnRename logs each rename once.
func (s *Server) warnRename(rename exposition.Rename) {
	s.mu.Lock()
	_, known := s.warned[rename]
	if !known && len(s.warned) < maxWarned {
		s.warned[rename] = struct{}{}
	}
	s.mu.Unlock()
	if !known {
		s.log.Warn("metric family renamed because its name is taken",
			"source", rename.Source, "family", rename.From, "renamed_to", rename.To)
	}
}
