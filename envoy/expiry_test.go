// SPDX-License-Identifier: MPL-2.0

package envoy

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"podplane/integration/logtest"
)

func leafJSON(uri string, notAfter time.Time) string {
	return fmt.Sprintf(`{"ca_cert":[{"path":"<inline>","expiration_time":"2020-01-01T00:00:00Z",
		"subject_alt_names":[{"uri":"spiffe://ca.consul"}]}],
		"cert_chain":[{"path":"<inline>","expiration_time":%q,"subject_alt_names":[{"uri":%q}]}]}`,
		notAfter.Format(time.RFC3339), uri)
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	soon, late := time.Now().Add(time.Hour).Truncate(time.Second), time.Now().Add(72*time.Hour).Truncate(time.Second)
	var answer atomic.Value
	answer.Store("no JSON: envoy is starting")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, answer.Load())
	}))
	t.Cleanup(server.Close)
	changes := make(chan struct{}, 1)
	var lines logtest.Buffer
	e, err := NewExpiry(ExpiryConfig{
		Admin:      adminOf(t, server),
		Changed:    func() <-chan struct{} { return changes },
		Interval:   time.Hour,
		Registerer: prometheus.NewRegistry(),
	}, hclog.New(&hclog.LoggerOptions{Output: &lines}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	steps := []struct {
		answer string
		want   time.Time
	}{
		{`{"certificates":[` + leafJSON("spiffe://x.consul/svc/web", late) + `,` +
			leafJSON("https://not-of-the-mesh.example", soon) + `]}`, late},
		{`{"certificates":[` + leafJSON("spiffe://x.consul/svc/web", late) + `,` +
			leafJSON("spiffe://x.consul/svc/web", soon) + `]}`, soon},
		{`{"certificates":[]}`, soon},
		{"no JSON", soon},
	}
	for _, step := range steps {
		answer.Store(step.answer)
		changes <- struct{}{}
		changes <- struct{}{} // taken once the look after the first is done
		eventually(t, "the certificates", func() bool { return testutil.ToFloat64(e.gauge) == float64(step.want.Unix()) })
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if !strings.Contains(lines.String(), "expires soon") {
		t.Error("no warning of the certificate that expires soon")
	}
}

func TestExpiryOfNobody(t *testing.T) {
	t.Parallel()
	if _, err := NewExpiry(ExpiryConfig{}, nil); err == nil {
		t.Error("no error")
	}
}

func TestExpiryWarning(t *testing.T) {
	t.Parallel()
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	leaf := func(serial string, age, left time.Duration) Certificate {
		return Certificate{Serial: serial, URIs: []string{"spiffe://x.consul/svc/web"}, NotBefore: now.Add(-age), NotAfter: now.Add(left)}
	}
	unknownAge := leaf("a", 0, 5*time.Hour)
	unknownAge.NotBefore = time.Time{}
	ca := leaf("a", 71*time.Hour, time.Hour)
	ca.CA = true
	for name, tc := range map[string]struct {
		looks [][]Certificate
		want  int
	}{
		"72 hours, 7 left":         {[][]Certificate{{leaf("a", 65*time.Hour, 7*time.Hour)}}, 0},
		"72 hours, 5 left":         {[][]Certificate{{leaf("a", 67*time.Hour, 5*time.Hour)}}, 1},
		"one hour, new":            {[][]Certificate{{leaf("a", 0, time.Hour)}}, 0},
		"one hour, half is over":   {[][]Certificate{{leaf("a", 30*time.Minute, 30*time.Minute)}}, 0},
		"one hour, 10 min left":    {[][]Certificate{{leaf("a", 50*time.Minute, 10*time.Minute)}}, 1},
		"its age is not known":     {[][]Certificate{{unknownAge}}, 1},
		"of an authority":          {[][]Certificate{{ca}}, 0},
		"in two listeners":         {[][]Certificate{{leaf("a", 71*time.Hour, time.Hour), leaf("a", 71*time.Hour, time.Hour)}}, 1},
		"look after look":          {[][]Certificate{{leaf("a", 71*time.Hour, time.Hour)}, {leaf("a", 71*time.Hour, time.Hour)}}, 1},
		"another one after it":     {[][]Certificate{{leaf("a", 71*time.Hour, time.Hour)}, {leaf("b", 71*time.Hour, time.Hour)}}, 2},
		"expired, and another too": {[][]Certificate{{leaf("a", 73*time.Hour, -time.Hour), leaf("b", 71*time.Hour, time.Hour)}}, 2},
	} {
		var lines logtest.Buffer
		e := &Expiry{log: hclog.New(&hclog.LoggerOptions{Output: &lines})}
		for _, certs := range tc.looks {
			e.warn(certs, now)
		}
		if got := strings.Count(lines.String(), "expires soon"); got != tc.want {
			t.Errorf("%s: %d warnings, want %d", name, got, tc.want)
		}
	}
}
