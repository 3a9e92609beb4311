// SPDX-License-Identifier: MPL-2.0

package webhook

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// offered notes how much room the first Read has, and has nothing to put there.
type offered struct{ room int }

func (o *offered) Read(p []byte) (int, error) {
	o.room = max(o.room, len(p))
	return 0, io.ErrUnexpectedEOF
}

// TestLengthIsNotTrusted is about callers that nobody knows: headers alone must
// not cost the memory of the largest body.
func TestLengthIsNotTrusted(t *testing.T) {
	t.Parallel()
	b := newBounds(Config{}.withDefaults())
	s := &Server{log: hclog.NewNullLogger(), bounds: b}
	var err error
	if s.metrics, err = newMetrics(nil, b); err != nil {
		t.Fatal(err)
	}
	body := &offered{}
	request := httptest.NewRequest(http.MethodPost, Path, body)
	request.ContentLength = maxBody
	request.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	s.ServeHTTP(answer, request)
	if answer.Code != http.StatusBadRequest {
		t.Errorf("status %d", answer.Code)
	}
	if body.room == 0 || body.room > 2*trustedLength {
		t.Errorf("%d bytes were there for a body that did not come", body.room)
	}
}
