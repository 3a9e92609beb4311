// SPDX-License-Identifier: MPL-2.0

package selfregister

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// prober makes one health check again and again.
type prober struct {
	check  Check
	client *http.Client
	report func(id, status, output string)
	tally  tally
}

func newProber(c Check, report func(id, status, output string)) *prober {
	p := &prober{check: c, report: report, tally: tally{check: c, status: c.Status}}
	p.client = &http.Client{
		Timeout: c.Timeout,
		// No proxy and no kept connections: what is checked is that the application
		// takes new ones.
		Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: p.tls()},
	}
	if c.DisableRedirects {
		p.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	return p
}

func (p *prober) tls() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: p.check.TLSServerName,
		InsecureSkipVerify: p.check.TLSSkipVerify, // #nosec G402 -- the operator's explicit wish
	}
}

// run checks until ctx ends, at once for the first time.
func (p *prober) run(ctx context.Context) {
	tick := time.NewTicker(p.check.Interval)
	defer tick.Stop()
	for {
		status, output := p.once(ctx)
		if ctx.Err() != nil {
			return
		}
		p.report(p.check.ID, p.tally.count(status), output)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (p *prober) once(ctx context.Context) (status, output string) {
	ctx, cancel := context.WithTimeout(ctx, p.check.Timeout)
	defer cancel()
	if p.check.TCP != "" {
		return p.tcp(ctx)
	}
	return p.http(ctx)
}

// http judges as Consul's agents do: 2xx passes, 429 is a warning.
func (p *prober) http(ctx context.Context) (status, output string) {
	req, err := http.NewRequestWithContext(ctx, p.check.method(), p.check.HTTP, strings.NewReader(p.check.Body))
	if err != nil {
		return Critical, err.Error()
	}
	req.Header.Set("User-Agent", "podplane health check")
	req.Header.Set("Accept", "text/plain, text/*, */*")
	for key, values := range p.check.Header {
		req.Header[http.CanonicalHeaderKey(key)] = values
		if strings.EqualFold(key, "host") && len(values) > 0 {
			req.Host = values[0]
		}
	}
	// Query and body stay out: everybody who may read the catalog would read them.
	output = fmt.Sprintf("HTTP %s %s://%s%s: ", req.Method, req.URL.Scheme, req.URL.Host, req.URL.EscapedPath())
	answer, err := p.client.Do(req)
	if err != nil {
		if of, ok := errors.AsType[*url.Error](err); ok { // which shows the whole of it
			err = of.Err
		}
		return Critical, output + err.Error()
	}
	defer func() { _ = answer.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10))
	output += answer.Status
	switch {
	case answer.StatusCode/100 == 2:
		return Passing, output
	case answer.StatusCode == http.StatusTooManyRequests:
		return Warning, output
	}
	return Critical, output
}

func (p *prober) tcp(ctx context.Context) (status, output string) {
	var (
		conn net.Conn
		err  error
	)
	if p.check.TCPUseTLS {
		conn, err = (&tls.Dialer{Config: p.tls()}).DialContext(ctx, "tcp", p.check.TCP)
	} else {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", p.check.TCP)
	}
	if err != nil {
		return Critical, err.Error()
	}
	_ = conn.Close()
	return Passing, "TCP connect " + p.check.TCP + ": success"
}

// tally turns results into a status, which changes only after enough of them in
// a row. https://developer.hashicorp.com/consul/docs/register/health-check/vm
type tally struct {
	check               Check
	status              string
	successes, failures int
}

func (t *tally) count(result string) string {
	if result == Critical {
		t.failures++
		t.successes = 0
		switch {
		case t.failures >= t.check.FailuresBeforeCritical:
			t.status = Critical
		case t.check.FailuresBeforeWarning > 0 && t.failures >= t.check.FailuresBeforeWarning && t.status == Passing:
			t.status = Warning
		}
		return t.status
	}
	t.successes++
	t.failures = 0
	if t.successes >= t.check.SuccessBeforePassing {
		t.status = result
	}
	return t.status
}
