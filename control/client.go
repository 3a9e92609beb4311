// SPDX-License-Identifier: MPL-2.0

package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// requestTimeout bounds a request that is answered at once.
	requestTimeout = 5 * time.Second
	// readyPoll is the pause between two looks at /ready.
	readyPoll = 50 * time.Millisecond
	// maxAnswer bounds an answer. /status of a large mesh stays far below it.
	maxAnswer = 16 << 20
)

// Endpoint says where a podplane serves its lifecycle.
type Endpoint struct {
	// Addr is the IP address that it binds. The unspecified one is reached by
	// loopback.
	Addr string
	// Port is the port that it binds.
	Port int
	// ShutdownPath is the path of the graceful shutdown.
	ShutdownPath string
}

// Client asks a podplane for what its lifecycle endpoints offer. It is safe for
// concurrent use and holds no connection between calls.
type Client struct {
	base     string
	shutdown string
	http     *http.Client
}

// NewClient checks the endpoint. It contacts nobody.
func NewClient(e Endpoint) (*Client, error) {
	if e.Port == 0 {
		return nil, errors.New("the lifecycle port is 0, any free port: say which with -graceful-port")
	}
	host := e.Addr
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip.Is6() {
			host = "::1"
		}
	}
	return &Client{
		base:     "http://" + net.JoinHostPort(host, strconv.Itoa(e.Port)),
		shutdown: e.ShutdownPath,
		http: &http.Client{Transport: &http.Transport{
			DialContext:       (&net.Dialer{}).DialContext, // and never the environment's proxy
			DisableKeepAlives: true,
		}},
	}, nil
}

// answer is what an endpoint said.
type answer struct {
	status int
	body   []byte
}

// ask makes one request.
func (c *Client) ask(ctx context.Context, method, path string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, nil)
	if err != nil {
		return answer{}, fmt.Errorf("ask podplane: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if urlErr, ok := errors.AsType[*url.Error](err); ok {
			err = urlErr.Err // what it adds is said here in fewer words
		}
		return answer{}, fmt.Errorf("ask podplane at %s: %w", c.base, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return answer{}, fmt.Errorf("ask podplane at %s: %w", c.base, err)
	}
	return answer{status: resp.StatusCode, body: body}, nil
}

// demand makes one request that is answered at once and wants a 200.
func (c *Client) demand(ctx context.Context, method, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return c.want(ctx, method, path)
}

// want makes one request and wants a 200.
func (c *Client) want(ctx context.Context, method, path string) ([]byte, error) {
	a, err := c.ask(ctx, method, path)
	if err != nil {
		return nil, err
	}
	if a.status != http.StatusOK {
		return nil, fmt.Errorf("podplane answers %d: %s", a.status, strings.TrimSpace(string(a.body)))
	}
	return a.body, nil
}

// pending is what /ready answers, as far as it is repeated to people.
type pending struct {
	Terminating string `json:"terminating"`
	Pending     []struct {
		Task      string `json:"task"`
		LastError string `json:"last_error"`
	} `json:"pending"`
}

func (p pending) String() string {
	if p.Terminating != "" {
		return "it is shutting down (" + p.Terminating + ")"
	}
	tasks := make([]string, 0, len(p.Pending))
	for _, t := range p.Pending {
		text := t.Task
		if t.LastError != "" {
			text += " (" + t.LastError + ")"
		}
		tasks = append(tasks, text)
	}
	return "it waits for " + strings.Join(tasks, ", ")
}

// Wait waits until the podplane is ready, also for one that does not run yet: the
// containers of a pod start in no order. The error at the end of ctx says what is
// pending. One that shuts down will not become ready, which is an error at once.
func (c *Client) Wait(ctx context.Context) error {
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	last := errors.New("it has not answered")
	for {
		a, err := c.askReady(ctx)
		var p pending
		switch {
		case err == nil && a.status == http.StatusOK:
			return nil
		case err == nil && json.Unmarshal(a.body, &p) == nil:
			last = errors.New(p.String())
			if p.Terminating != "" {
				return fmt.Errorf("podplane will not be ready: %w", last)
			}
		case err == nil:
			last = fmt.Errorf("it answers %d", a.status)
		case ctx.Err() == nil: // the end of ctx is no news about podplane
			last = err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("podplane is not ready: %w: %w", context.Cause(ctx), last)
		}
	}
}

func (c *Client) askReady(ctx context.Context) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return c.ask(ctx, http.MethodGet, "/ready")
}

// Shutdown asks for a graceful shutdown and gives its state, as JSON. An answer
// comes at once.
func (c *Client) Shutdown(ctx context.Context) ([]byte, error) {
	return c.demand(ctx, http.MethodPost, c.shutdown)
}

// Drain is Shutdown that returns when Envoy is gone, for which ctx is the bound.
func (c *Client) Drain(ctx context.Context) ([]byte, error) {
	return c.want(ctx, http.MethodPost, c.shutdown+"?wait")
}

// Quit ends Envoy and podplane without drain or grace, and returns when Envoy is
// gone.
func (c *Client) Quit(ctx context.Context) ([]byte, error) {
	return c.demand(ctx, http.MethodPost, c.shutdown+"?now&wait")
}

// Status gives all that /status tells, as JSON.
func (c *Client) Status(ctx context.Context) ([]byte, error) {
	return c.demand(ctx, http.MethodGet, "/status")
}

// LogLevel sets the log level of podplane and Envoy for a while; an empty time is
// the podplane's default.
func (c *Client) LogLevel(ctx context.Context, level, lasting string) ([]byte, error) {
	query := url.Values{"level": {level}}
	if lasting != "" {
		query.Set("for", lasting)
	}
	return c.demand(ctx, http.MethodPost, "/loglevel?"+query.Encode())
}
