// SPDX-License-Identifier: MPL-2.0

package webhook

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// certificate makes a self-signed one for 127.0.0.1.
func certificate(tb testing.TB) *tls.Certificate {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		tb.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func newServer(tb testing.TB, cfg Config) (*Server, *tls.Certificate) {
	tb.Helper()
	cert := certificate(tb)
	cfg.Addr = "127.0.0.1:0"
	cfg.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil }
	s, err := New(cfg, nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s, cert
}

// running serves until the returned function is called, which gives Run's result.
func running(tb testing.TB, s *Server) (stop func() error) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop = sync.OnceValue(func() error { cancel(); return <-ended })
	tb.Cleanup(func() { _ = stop() })
	return stop
}

func client(tb testing.TB, cert *tls.Certificate) *http.Client {
	tb.Helper()
	roots := x509.NewCertPool()
	parsed, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		tb.Fatal(err)
	}
	roots.AddCert(parsed)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 32}
	tb.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 30 * time.Second}
}

func review(change func(*admissionv1.AdmissionReview)) []byte {
	r := admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: "the-uid", Operation: admissionv1.Create, Namespace: "shop", Name: "web",
			Kind:   metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
			Object: runtime.RawExtension{Raw: []byte(`{"kind":"Pod"}`)},
		},
	}
	if change != nil {
		change(&r)
	}
	out, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	return out
}

// posted asks the handler without a network.
func posted(s *Server, body []byte, contentType string) (*httptest.ResponseRecorder, *admissionv1.AdmissionResponse) {
	r := httptest.NewRequest(http.MethodPost, Path, bytes.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	var got admissionv1.AdmissionReview
	_ = json.Unmarshal(w.Body.Bytes(), &got)
	return w, got.Response
}

func TestDecisions(t *testing.T) {
	t.Parallel()
	yes := true
	for name, tc := range map[string]struct {
		mutate  Mutator
		change  func(*admissionv1.AdmissionReview)
		allowed bool
		code    int32
		patch   string
		says    string
		result  string
	}{
		"patch": {
			mutate: func(_ context.Context, r Request) (Decision, error) {
				return Decision{Patch: fmt.Appendf(nil, `["%s", %s]`, r.Namespace, r.Pod), Warnings: []string{"careful"}}, nil
			},
			allowed: true, patch: `["shop", {"kind":"Pod"}]`, result: resultInjected,
		},
		"unchanged": {
			mutate:  func(context.Context, Request) (Decision, error) { return Decision{}, nil },
			allowed: true, result: resultUnchanged,
		},
		"dry run": {
			mutate:  func(context.Context, Request) (Decision, error) { return Decision{Patch: []byte("[]")}, nil },
			change:  func(r *admissionv1.AdmissionReview) { r.Request.DryRun = &yes },
			allowed: true, patch: "[]", result: resultInjected,
		},
		"refusal": {
			mutate: func(context.Context, Request) (Decision, error) {
				return Decision{Refusal: "annotation x: no", Patch: []byte("[]")}, nil
			},
			code: http.StatusUnprocessableEntity, says: "annotation x: no", result: resultRefused,
		},
		"error": {
			mutate: func(context.Context, Request) (Decision, error) { return Decision{}, errors.New("no namespace") },
			code:   http.StatusInternalServerError, says: "podplane-injector: no namespace", result: resultError,
		},
		"panic": {
			mutate: func(context.Context, Request) (Decision, error) { panic("the-content") },
			code:   http.StatusInternalServerError, says: "a fault in the companion", result: resultError,
		},
		"other kind": {
			mutate:  func(context.Context, Request) (Decision, error) { panic("asked") },
			change:  func(r *admissionv1.AdmissionReview) { r.Request.Kind.Kind = "Node" },
			allowed: true, result: resultUnchanged,
		},
		"update": {
			mutate:  func(context.Context, Request) (Decision, error) { panic("asked") },
			change:  func(r *admissionv1.AdmissionReview) { r.Request.Operation = admissionv1.Update },
			allowed: true, result: resultUnchanged,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			registry := prometheus.NewRegistry()
			s, _ := newServer(t, Config{Mutate: tc.mutate, Metrics: registry})
			w, got := posted(s, review(tc.change), "application/json; charset=utf-8")
			if w.Code != http.StatusOK || got == nil || got.UID != "the-uid" || got.Allowed != tc.allowed || string(got.Patch) != tc.patch {
				t.Fatalf("status %d: %s", w.Code, w.Body)
			}
			if (got.PatchType != nil) != (tc.patch != "") {
				t.Error("patch and its type do not go together")
			}
			if !tc.allowed && (got.Result == nil || got.Result.Code != tc.code || !strings.Contains(got.Result.Message, tc.says)) {
				t.Errorf("refused with %+v", got.Result)
			}
			if strings.Contains(w.Body.String(), "the-content") {
				t.Error("the panic's content is in the answer")
			}
			if n := counted(t, registry, tc.result); n != 1 {
				t.Errorf("%s counted %v times", tc.result, n)
			}
		})
	}
}

// TestLongNames: what names a pod in the log is no longer than a name can be.
func TestLongNames(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	s, _ := newServer(t, Config{Mutate: func(context.Context, Request) (Decision, error) { return Decision{Refusal: "no"}, nil }})
	s.log = hclog.New(&hclog.LoggerOptions{Output: &out})
	posted(s, review(func(r *admissionv1.AdmissionReview) {
		r.Request.Name = strings.Repeat("n", 1<<16)
		r.Request.Namespace, r.Request.UID = r.Request.Name, types.UID(r.Request.Name)
	}), "application/json")
	if said := out.String(); !strings.Contains(said, "refused a pod") || len(said) > 1000 {
		t.Errorf("%d bytes of log: %.200s", len(said), said)
	}
}

func counted(t *testing.T, registry *prometheus.Registry, result string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == "podplane_injector_admissions_total" && l.GetValue() == result {
					return m.GetCounter().GetValue()
				}
			}
		}
	}
	return -1
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		body        []byte
		contentType string
		code        int
	}{
		"content type": {review(nil), "text/plain", http.StatusUnsupportedMediaType},
		"no type":      {review(nil), "", http.StatusUnsupportedMediaType},
		"no json":      {[]byte("hello"), "application/json", http.StatusBadRequest},
		"empty":        {nil, "application/json", http.StatusBadRequest},
		"old version": {review(func(r *admissionv1.AdmissionReview) { r.APIVersion = "admission.k8s.io/v1beta1" }),
			"application/json", http.StatusBadRequest},
		"no request": {review(func(r *admissionv1.AdmissionReview) { r.Request = nil }), "application/json", http.StatusBadRequest},
		"no uid":     {review(func(r *admissionv1.AdmissionReview) { r.Request.UID = "" }), "application/json", http.StatusBadRequest},
		"too large":  {bytes.Repeat([]byte(" "), maxBody+1), "application/json", http.StatusRequestEntityTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := newServer(t, Config{Mutate: func(context.Context, Request) (Decision, error) { panic("asked") }})
			if w, _ := posted(s, tc.body, tc.contentType); w.Code != tc.code || w.Header().Get("Connection") != "close" {
				t.Errorf("status %d: %s", w.Code, w.Body)
			}
		})
	}
}

// TestServe goes over TLS, and shuts down while a review is under way.
func TestServe(t *testing.T) {
	t.Parallel()
	asked, answer := make(chan struct{}), make(chan struct{})
	s, cert := newServer(t, Config{ShutdownDelay: time.Millisecond, Mutate: func(context.Context, Request) (Decision, error) {
		close(asked)
		<-answer
		return Decision{}, nil
	}})
	stop := running(t, s)
	c := client(t, cert)
	ended := make(chan error, 1)
	go func() {
		<-asked
		go func() { ended <- stop() }()
		close(answer)
	}()
	response, err := c.Post("https://"+s.Addr().String()+Path, "application/json", bytes.NewReader(review(nil)))
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK || response.Proto != "HTTP/1.1" || response.TLS.Version < tls.VersionTLS12 {
		t.Errorf("status %s, %s", response.Status, response.Proto)
	}
	c.CloseIdleConnections()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestDrain sends API servers to other replicas before the connections end: each
// answer after the end was asked for is the last on its connection.
func TestDrain(t *testing.T) {
	t.Parallel()
	s, cert := newServer(t, Config{
		ShutdownDelay: time.Hour, Mutate: func(context.Context, Request) (Decision, error) { return Decision{}, nil },
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	c := client(t, cert)
	ask := func() (last bool) {
		response, err := c.Post("https://"+s.Addr().String()+Path, "application/json", bytes.NewReader(review(nil)))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Errorf("status %s", response.Status)
		}
		return response.Close
	}
	if ask() {
		t.Error("a connection is for one review only")
	}
	cancel()
	for deadline := time.Now().Add(30 * time.Second); !ask(); {
		if time.Now().After(deadline) {
			t.Fatal("connections are kept")
		}
	}
	_ = s.http.Close() // an hour is long
	if err := <-ended; err == nil {
		t.Error("an end before its time is none")
	}
}

// TestOtherPaths are not there.
func TestOtherPaths(t *testing.T) {
	t.Parallel()
	s, cert := newServer(t, Config{Mutate: func(context.Context, Request) (Decision, error) { return Decision{}, nil }})
	running(t, s)
	c := client(t, cert)
	for path, want := range map[string]int{"/": http.StatusNotFound, Path: http.StatusMethodNotAllowed} {
		response, err := c.Get("https://" + s.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s gives %s", path, response.Status)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	mutate := func(context.Context, Request) (Decision, error) { return Decision{}, nil }
	if _, err := New(Config{Mutate: mutate}, nil); err == nil {
		t.Error("no certificate is no error")
	}
	s, _ := newServer(t, Config{Mutate: mutate})
	none := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("none") }
	if _, err := New(Config{Mutate: mutate, GetCertificate: none, Addr: s.Addr().String()}, nil); err == nil {
		t.Error("a taken address is no error")
	}
	registry := prometheus.NewRegistry()
	if _, err := newMetrics(registry, newBounds(Config{}.withDefaults())); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{Mutate: mutate, GetCertificate: none, Addr: "127.0.0.1:0", Metrics: registry}, nil); err == nil {
		t.Error("metrics registered twice are no error")
	}
}

func FuzzReview(f *testing.F) {
	f.Add(review(nil))
	f.Add([]byte(`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"a","object":null}}`))
	s, err := New(Config{
		Addr:           "127.0.0.1:0",
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("none") },
		Mutate:         func(_ context.Context, r Request) (Decision, error) { return Decision{Patch: r.Pod}, nil },
	}, nil)
	if err != nil {
		f.Fatal(err)
	}
	_ = s.Close()
	f.Fuzz(func(t *testing.T, body []byte) {
		w, got := posted(s, body, "application/json")
		if w.Code == http.StatusOK && (got == nil || got.UID == "") {
			t.Errorf("an answer without a UID: %s", w.Body)
		}
	})
}

// BenchmarkServe posts reviews of a usual size over TLS.
func BenchmarkServe(b *testing.B) {
	s, cert := newServer(b, Config{Mutate: func(context.Context, Request) (Decision, error) {
		return Decision{Patch: bytes.Repeat([]byte("x"), 4<<10)}, nil
	}})
	running(b, s)
	c := client(b, cert)
	body := review(func(r *admissionv1.AdmissionReview) {
		r.Request.Object.Raw = fmt.Appendf(nil, `{"kind":"Pod","spec":"%s"}`, strings.Repeat("y", 8<<10))
	})
	var mu sync.Mutex
	var took []time.Duration
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			start := time.Now()
			response, err := c.Post("https://"+s.Addr().String()+Path, "application/json", bytes.NewReader(body))
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
			mu.Lock()
			took = append(took, time.Since(start))
			mu.Unlock()
		}
	})
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	c.CloseIdleConnections()
}
