// SPDX-License-Identifier: MPL-2.0

package webhook

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
)

// unbound is a server without an address, for tests in a bubble.
func unbound(t *testing.T, cfg Config) (*Server, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewRegistry()
	cfg = cfg.withDefaults()
	b := newBounds(cfg)
	m, err := newMetrics(registry, b)
	if err != nil {
		t.Fatal(err)
	}
	return &Server{cfg: cfg, log: hclog.NewNullLogger(), metrics: m, bounds: b}, registry
}

// held decides when it is told to.
func held() (mutate Mutator, let func()) {
	answer := make(chan struct{})
	return func(context.Context, Request) (Decision, error) {
		<-answer
		return Decision{}, nil
	}, func() { close(answer) }
}

// several posts reviews side by side, which in a bubble are all stuck once this
// comes back. Their status codes follow.
func several(s *Server, n int) <-chan int {
	codes := make(chan int, n)
	for range n {
		go func() {
			w, _ := posted(s, review(nil), "application/json")
			codes <- w.Code
		}()
	}
	synctest.Wait()
	return codes
}

func expect(t *testing.T, codes <-chan int, want int) {
	t.Helper()
	if got := <-codes; got != want {
		t.Errorf("status %d, want %d", got, want)
	}
}

// TestMoreThanWait are refused at once, with a time to ask again; those who wait
// get their turn.
func TestMoreThanWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mutate, let := held()
		s, registry := unbound(t, Config{Concurrency: 2, Waiting: 3, Mutate: mutate})
		codes := several(s, 5)
		if d, w := len(s.bounds.deciding), len(s.bounds.waiting); d != 2 || w != 3 || len(codes) != 0 {
			t.Fatalf("%d are decided on, %d wait, %d are answered", d, w, len(codes))
		}
		start := time.Now()
		w, _ := posted(s, review(nil), "application/json")
		if again := w.Header().Get("Retry-After"); w.Code != http.StatusServiceUnavailable || again != "1" && again != "2" {
			t.Errorf("status %d, to be asked again after %q s", w.Code, again)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("it took %s to be refused", took)
		}
		let()
		for range 5 {
			expect(t, codes, http.StatusOK)
		}
		if n := counted(t, registry, resultBusy); n != 1 {
			t.Errorf("counted %v times", n)
		}
		expect(t, several(s, 1), http.StatusOK)
	})
}

// TestPatience: what waited for too long is refused, and takes no place any more.
func TestPatience(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mutate, let := held()
		s, _ := unbound(t, Config{Concurrency: 1, Patience: 2 * time.Second, Mutate: mutate})
		first, start := several(s, 1), time.Now()
		expect(t, several(s, 1), http.StatusServiceUnavailable)
		if took := time.Since(start); took != 2*time.Second || len(s.bounds.waiting) != 0 {
			t.Errorf("it waited for %s, %d wait", took, len(s.bounds.waiting))
		}
		let()
		expect(t, first, http.StatusOK)
	})
}

// TestClientGone ends the wait with the client's patience.
func TestClientGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mutate, let := held()
		s, _ := unbound(t, Config{Concurrency: 1, Mutate: mutate})
		first, start := several(s, 1), time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, Path, bytes.NewReader(review(nil)))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != http.StatusServiceUnavailable || time.Since(start) != time.Second {
			t.Errorf("status %d after %s", w.Code, time.Since(start))
		}
		let()
		expect(t, first, http.StatusOK)
	})
}

// TestMemory counts the bytes of the bodies that are there, and gives them back.
func TestMemory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mutate, let := held()
		size := int64(len(review(nil)))
		s, registry := unbound(t, Config{Memory: 2*size + 1, Mutate: mutate})
		codes := several(s, 2)
		w, _ := posted(s, review(nil), "application/json")
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("status %d", w.Code)
		}
		let()
		expect(t, codes, http.StatusOK)
		expect(t, codes, http.StatusOK)
		synctest.Wait()
		if left := s.bounds.bodies.Load(); left != 2*size+1 {
			t.Errorf("%d bytes are left of %d", left, 2*size+1)
		}
		expect(t, several(s, 1), http.StatusOK)
		if n := counted(t, registry, resultBusy); n != 1 {
			t.Errorf("counted %v times", n)
		}
	})
}

// TestElements bounds what few bytes become in memory: a pod of nothing but commas
// took 800 MiB.
func TestElements(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mutate, let := held()
		s, _ := unbound(t, Config{Mutate: mutate})
		of := func(n int) []byte {
			return review(func(r *admissionv1.AdmissionReview) {
				r.Request.Object.Raw = []byte(`{"x":[0` + strings.Repeat(",0", n) + "]}")
			})
		}
		w, _ := posted(s, of(maxElements), "application/json")
		if w.Code != http.StatusRequestEntityTooLarge {
			t.Errorf("status %d", w.Code)
		}
		codes := make(chan int, 4)
		const three = elementMemory / elementSize / 3
		for range 3 {
			go func() {
				w, _ := posted(s, of(three-20), "application/json")
				codes <- w.Code
			}()
		}
		synctest.Wait()
		w, _ = posted(s, of(three-20), "application/json")
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("status %d", w.Code)
		}
		let()
		for range 3 {
			expect(t, codes, http.StatusOK)
		}
		synctest.Wait()
		if left := s.bounds.elements.Load(); left != elementMemory || len(s.bounds.deciding) != 0 {
			t.Errorf("%d bytes are left, %d are decided on", left, len(s.bounds.deciding))
		}
	})
}

// TestSaysSeldom: a storm of requests is no storm in the log.
func TestSaysSeldom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _ := unbound(t, Config{})
		var out strings.Builder
		s.log = hclog.New(&hclog.LoggerOptions{Output: &out})
		for range 2 {
			for range 100 {
				s.busy(httptest.NewRecorder())
				posted(s, []byte("what"), "application/json")
			}
			time.Sleep(sayEvery + 1)
		}
		for _, line := range []string{"told to ask again: waiting=0", "no admission review"} {
			if n := strings.Count(out.String(), line); n != 2 {
				t.Errorf("%d lines with %q: %s", n, line, out.String())
			}
		}
	})
}
