// SPDX-License-Identifier: MPL-2.0

package downstream

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestNghttp2 asks with curl, whose HTTP/2 is nghttp2's, as Envoy's is. The body is
// larger than the windows. It half-closes when it has sent it, so the echo is sent
// by Receive: curl's windows are far larger than it. What is refused has no body:
// curl takes it for a failure if a stream ends before it has sent all.
func TestNghttp2(t *testing.T) {
	t.Parallel()
	needCurl(t)
	tests := map[string]struct {
		sizes  []int
		refuse error
		status string
	}{
		"small":  {sizes: []int{0, 1, 100}, status: "0"},
		"many":   {sizes: []int{1000, 17_000, largeFrom - 1, largeFrom, 60_000, 3}, status: "0"},
		"large":  {sizes: []int{4 << 20}, status: "0"},
		"none":   {status: "0"},
		"refuse": {refuse: status.Error(codes.PermissionDenied, "not you"), status: "7"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.serve(listenTCP(t), Config{Method: testMethod, Open: func(stream *Stream) (Receive, error) {
				return func(m []byte) error { return stream.Send(buffers(m), nil) }, test.refuse
			}})
			var body []byte
			for i, size := range test.sizes {
				body = append(body, prefixed(pattern(i, size))...)
			}
			got, header := curl(t, "http://"+s.addr.String()+testMethod, body)
			if test.refuse == nil {
				sameBytes(t, "the body", got, body)
			}
			for _, want := range []string{"HTTP/2 200", "content-type: application/grpc", "grpc-status: " + test.status} {
				if !strings.Contains(header, want+" \r\n") && !strings.Contains(header, want+"\r\n") {
					t.Errorf("no %q in\n%s", want, header)
				}
			}
		})
	}
}

func needCurl(t *testing.T) {
	t.Helper()
	if version, err := exec.CommandContext(t.Context(), "curl", "--version").Output(); err != nil ||
		!strings.Contains(string(version), "nghttp2/") {
		t.Skip("there is no curl with nghttp2")
	}
}

// curl sends a request and gives the body of the response, and its headers with the
// trailers.
func curl(t *testing.T, url string, body []byte) (got []byte, header string) {
	t.Helper()
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(file("request"), body, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "curl", "--silent", "--show-error", "--http2-prior-knowledge",
		"--noproxy", "*", "--max-time", "100",
		"--header", "content-type: application/grpc", "--header", "te: trailers", "--header", "expect:",
		"--data-binary", "@"+file("request"), "--dump-header", file("header"), "--output", file("body"), url).CombinedOutput()
	if err != nil {
		t.Fatalf("curl: %v\n%s", err, out)
	}
	raw, err := os.ReadFile(file("header"))
	if err != nil {
		t.Fatal(err)
	}
	got, err = os.ReadFile(file("body"))
	if err != nil && !os.IsNotExist(err) { // it makes none for a response without a body
		t.Fatal(err)
	}
	return got, string(raw)
}
