// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// breaking is a host that serves each connection in a goroutine, and counts the requests.
type breaking struct {
	addr     string
	requests atomic.Int64
}

func newBreaking(t *testing.T, serve func(*breaking, net.Conn)) *breaking {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &breaking{addr: ln.Addr().String()}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(b, conn)
			}()
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		<-ended
	})
	return b
}

// breakHTTP1 answers, but reads the second of all requests and hangs up.
func breakHTTP1(b *breaking, conn net.Conn) {
	r := bufio.NewReader(conn)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, req.Body)
		if b.requests.Add(1) == 2 {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	}
}

// breakHTTP2 answers, but refuses the second of all requests.
func breakHTTP2(b *breaking, conn net.Conn) {
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	f := http2.NewFramer(conn, conn)
	_ = f.WriteSettings()
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				_ = f.WriteSettingsAck()
			}
		case *http2.HeadersFrame:
			if b.requests.Add(1) == 2 {
				_ = f.WriteRSTStream(frame.StreamID, http2.ErrCodeRefusedStream)
				continue
			}
			block.Reset()
			_ = encoder.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
			_ = f.WriteHeaders(http2.HeadersFrameParam{
				StreamID: frame.StreamID, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true,
			})
		}
	}
}

// TestBrokenConnectionIsNotRetried has an upstream fail the second of three requests, each on a pooled connection.
func TestBrokenConnectionIsNotRetried(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		serve   func(*breaking, net.Conn)
		options string
		method  string
		header  string
	}{
		"HTTP/1 GET":                  {serve: breakHTTP1, method: http.MethodGet},
		"HTTP/1 OPTIONS":              {serve: breakHTTP1, method: http.MethodOptions},
		"HTTP/1 POST with a key":      {serve: breakHTTP1, method: http.MethodPost, header: "Idempotency-Key"},
		"HTTP/1 POST with an old key": {serve: breakHTTP1, method: http.MethodPost, header: "X-Idempotency-Key"},
		"HTTP/2 GET":                  {serve: breakHTTP2, options: (&mesh{protocol: "http2"}).options(), method: http.MethodGet},
		"HTTP/2 DELETE":               {serve: breakHTTP2, options: (&mesh{protocol: "http2"}).options(), method: http.MethodDelete},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBreaking(t, tt.serve)
			f := newFront(t, `{"match":{"prefix":"/"},"route":{"cluster":"app"}}`, "", "")
			host, port, _ := strings.Cut(b.addr, ":")
			c := staticCluster("app", host, port)
			setCluster(t, f.e, c[:len(c)-1]+tt.options+"}")
			for i, want := range []int{http.StatusOK, http.StatusServiceUnavailable, http.StatusOK} {
				if got := send(t, tt.method, f.base, tt.header); got != want {
					t.Errorf("request %d: %d, want %d", i+1, got, want)
				}
			}
			if got := b.requests.Load(); got != 3 {
				t.Errorf("the upstream got %d requests, want 3", got)
			}
		})
	}
}

// TestRefusedStreamIsRetriedIfThePolicySaysSo is the counterpart: only the policy repeats a request.
func TestRefusedStreamIsRetriedIfThePolicySaysSo(t *testing.T) {
	t.Parallel()
	b := newBreaking(t, breakHTTP2)
	f := newFront(t, `{"match":{"prefix":"/"},"route":{"cluster":"app","retry_policy":{"retry_on":"refused-stream"}}}`, "", "")
	host, port, _ := strings.Cut(b.addr, ":")
	c := staticCluster("app", host, port)
	setCluster(t, f.e, c[:len(c)-1]+(&mesh{protocol: "http2"}).options()+"}")
	for i := range 2 {
		if got := send(t, http.MethodGet, f.base, ""); got != http.StatusOK {
			t.Errorf("request %d: %d", i+1, got)
		}
	}
	if got := stat(f.e, "cluster.app.upstream_rq_retry_success"); got != 1 || b.requests.Load() != 3 {
		t.Errorf("%d retries succeeded, the upstream got %d requests; want 1 and 3", got, b.requests.Load())
	}
}

// send makes one request without a body, over a connection of its own, and gives the status.
func send(t *testing.T, method, url, header string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if header != "" {
		req.Header.Set(header, "k")
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return resp.StatusCode
}

// TestLackOfABodyIsKept looks at what arrives of requests without a body.
func TestLackOfABodyIsKept(t *testing.T) {
	t.Parallel()
	f := newFront(t, `{"match":{"prefix":"/"},"route":{"cluster":"app"}}`, "", "")
	var seen atomic.Pointer[http.Request]
	f.backend(t, "app", func(_ http.ResponseWriter, r *http.Request) { seen.Store(r) })
	for method, want := range map[string]string{
		http.MethodGet: "", http.MethodHead: "", http.MethodOptions: "", http.MethodDelete: "",
		http.MethodPost: "0", http.MethodPut: "0", http.MethodPatch: "0",
	} {
		if got := send(t, method, f.base, "Idempotency-Key"); got != http.StatusOK {
			t.Fatalf("%s: %d", method, got)
		}
		r := seen.Load()
		if r.ContentLength != 0 || len(r.TransferEncoding) > 0 || r.Header.Get("Content-Length") != want || r.Header.Get("Idempotency-Key") != "k" {
			t.Errorf("%s arrives with length %d %q, encoding %v, key %q", method, r.ContentLength, r.Header.Get("Content-Length"),
				r.TransferEncoding, r.Header.Get("Idempotency-Key"))
		}
	}
}
