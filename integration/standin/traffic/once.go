// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"io"
	"net/http"
	"strings"
)

// emptyBody is a body without content that net/http cannot know to be one. It does not repeat a request with a body
// that it cannot get anew.
type emptyBody struct{}

// Read implements io.Reader.
func (emptyBody) Read([]byte) (int, error) { return 0, io.EOF }

// Close implements io.Closer.
func (emptyBody) Close() error { return nil }

// sendOnce keeps net/http from repeating a request whose pooled connection breaks: without a retry policy Envoy
// answers 503 then.
//
// What is sent stays the same, so that a request which says that its length is zero keeps its lack of a body. Over
// HTTP/1 only an idempotency key would make net/http repeat it, and that it does not see in lower case, which Envoy
// writes anyway; over HTTP/2 it repeats one that the host has refused unseen.
func sendOnce(out *http.Request) {
	for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		if values, ok := out.Header[name]; ok {
			delete(out.Header, name)
			out.Header[strings.ToLower(name)] = values
		}
	}
	out.GetBody = nil
	if out.Body != nil && out.Body != http.NoBody {
		return
	}
	switch out.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodDelete: // those have no length without a body
		out.Body = emptyBody{}
	}
}
