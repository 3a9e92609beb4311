// SPDX-License-Identifier: MPL-2.0

package mesh

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

const (
	// poll is the pause between two looks at a condition that nobody announces.
	poll = 10 * time.Millisecond
	// requestTimeout bounds one request.
	requestTimeout = 10 * time.Second
)

// Answer is what a request got.
type Answer struct {
	Status int
	Body   string
}

// Get asks a URL over a connection of its own, which is what a refusal by an
// intention shows on: it ends the connection, not the request.
func Get(ctx context.Context, url string) (Answer, error) { return request(ctx, http.MethodGet, url) }

// Post sends an empty POST.
func Post(ctx context.Context, url string) (Answer, error) { return request(ctx, http.MethodPost, url) }

func request(ctx context.Context, method, url string) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	if err != nil {
		return Answer{}, err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return Answer{Status: resp.StatusCode, Body: strings.TrimSpace(string(body))}, err
}

// Upstream is the URL at which the pod's application reaches an upstream.
func (p *Pod) Upstream(name, path string) string {
	return "http://" + loopback(p.upstreams[name]) + path
}

// Call asks an upstream as the pod's application does.
func (p *Pod) Call(ctx context.Context, name, path string) (Answer, error) {
	return Get(ctx, p.Upstream(name, path))
}

// Status reads one section of the pod's /status into out.
func (p *Pod) Status(ctx context.Context, section string, out any) error {
	if err := StatusOf(ctx, p.Lifecycle, section, out); err != nil {
		return fmt.Errorf("status of %s: %w", p.spec.Name, err)
	}
	return nil
}

// StatusOf reads one section of the /status of a lifecycle server into out.
func StatusOf(ctx context.Context, lifecycle, section string, out any) error {
	answer, err := Get(ctx, "http://"+lifecycle+"/status")
	if err != nil {
		return err
	}
	var sections map[string]json.RawMessage
	if err := json.Unmarshal([]byte(answer.Body), &sections); err != nil {
		return err
	}
	return json.Unmarshal(sections[section], out)
}

// EnvoyPID is the process ID of the pod's Envoy, 0 while there is none.
func (p *Pod) EnvoyPID(ctx context.Context) int {
	var envoy struct {
		PID int `json:"pid"`
	}
	if err := p.Status(ctx, "envoy", &envoy); err != nil {
		return 0
	}
	return envoy.PID
}

// WaitReady waits until the pod's /ready says so.
func (p *Pod) WaitReady(ctx context.Context) error {
	var last string
	err := Until(ctx, func(ctx context.Context) bool {
		answer, err := Get(ctx, "http://"+p.Lifecycle+"/ready")
		last = answer.Body
		if err != nil {
			last = err.Error()
		}
		return err == nil && answer.Status == http.StatusOK
	})
	if err != nil {
		return fmt.Errorf("%s is not ready: %w; last answer: %s", p.spec.Name, err, last)
	}
	return nil
}

// Until asks again and again until cond holds or ctx is done.
func Until(ctx context.Context, cond func(context.Context) bool) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for !cond(ctx) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// MutualTLS looks at the pod's public listener from outside of the mesh and
// tells what is seen; it is an error if anybody may connect, or in plain text.
func (p *Pod) MutualTLS(ctx context.Context) (string, error) {
	addr := loopback(p.Service.ProxyPort)
	// Without a certificate of the mesh. Under TLS 1.3 the refusal arrives with
	// the first read.
	dialer := &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", fmt.Errorf("no TLS on the public listener of %s: %w", p.spec.Name, err)
	}
	defer func() { _ = conn.Close() }()
	secured, _ := conn.(*tls.Conn)
	presented := secured.ConnectionState().PeerCertificates[0]
	if len(presented.URIs) != 1 || !strings.HasSuffix(presented.URIs[0].Path, "/svc/"+p.spec.Name) {
		return "", fmt.Errorf("the certificate of %s is for %v", p.spec.Name, presented.URIs)
	}
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return "", err
	}
	switch _, err := conn.Read(make([]byte, 1)); {
	case err == nil:
		return "", fmt.Errorf("%s answers a client without a certificate", p.spec.Name)
	case !refusal(err):
		return "", fmt.Errorf("%s did not refuse a client without a certificate: %w", p.spec.Name, err)
	}
	return fmt.Sprintf("%s presents %s, and refuses a client without a certificate", p.spec.Name, presented.URIs[0]), nil
}

// refusal tells whether an error is a refusal: a TLS alert, or the reset that may overtake it. A connection that just
// ends may have been welcome.
func refusal(err error) bool {
	if errors.Is(err, syscall.ECONNRESET) {
		return true
	}
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error" // as crypto/tls calls an alert that it has received
}
