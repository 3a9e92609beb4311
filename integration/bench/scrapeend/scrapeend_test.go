// SPDX-License-Identifier: MPL-2.0

package scrapeend

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/goleak"

	"podplane/integration/bench/control"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The exposition is what it says: so many series, no name twice, and valid.
func TestSeries(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		make             func(int) []byte
		series, families int
	}{
		"application": {Application, 119, 2},
		"envoy":       {Envoy, 1000, 10},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			parser := expfmt.NewTextParser(model.UTF8Validation)
			families, err := parser.TextToMetricFamilies(bytes.NewReader(tt.make(tt.series)))
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, f := range families {
				n += len(f.GetMetric())
			}
			if n != tt.series || len(families) != tt.families {
				t.Errorf("%d series in %d families, want %d in %d", n, len(families), tt.series, tt.families)
			}
		})
	}
}

// start runs a role and gives its URL.
func start(t *testing.T, role string, run func(ctx context.Context, controlPath string) error) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, path) }()
	t.Cleanup(func() {
		_ = l.Close() // which ends it
		if err := <-ended; err != nil {
			t.Error(err)
		}
		cancel()
	})
	peer, err := l.Next(ctx, role)
	if err != nil {
		t.Fatal(err)
	}
	return "http://" + peer.Hello().Addr
}

func get(t *testing.T, url string) (string, error) {
	t.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

func TestCopyIsTheSameBytes(t *testing.T) {
	t.Parallel()
	app := start(t, RoleApplication, func(ctx context.Context, path string) error { return RunApplication(ctx, path, 500) })
	second := httptest.NewServer(Serve([]byte("second 1\n")))
	defer second.Close()
	copied := start(t, RoleCopy, func(ctx context.Context, path string) error {
		return RunCopy(ctx, path, []string{second.URL, app + "/metrics"})
	})
	want := "second 1\n" + string(Application(500))
	if got, err := get(t, copied); err != nil || got != want {
		t.Errorf("%d bytes, %v; want %d, the same as both sources", len(got), err, len(want))
	}
}

func TestCopyOfABrokenSource(t *testing.T) {
	t.Parallel()
	broken := httptest.NewServer(http.NotFoundHandler())
	defer broken.Close()
	good := httptest.NewServer(Serve([]byte("good 1\n")))
	defer good.Close()
	copied := start(t, RoleCopy, func(ctx context.Context, path string) error {
		return RunCopy(ctx, path, []string{good.URL, broken.URL})
	})
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Get(copied)
	if err != nil {
		return // cut off before the head
	}
	defer response.Body.Close()
	if _, err := io.ReadAll(response.Body); err == nil {
		t.Error("a copy that lacks a source looks whole")
	}
}

func TestNobodyToReport(t *testing.T) {
	t.Parallel()
	if err := RunApplication(t.Context(), filepath.Join(t.TempDir(), "absent"), 1); err == nil {
		t.Error("no error without a benchmark")
	}
}
