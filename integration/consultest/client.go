// SPDX-License-Identifier: MPL-2.0

package consultest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// requestTimeout is above Consul's own 7 s for a request that waits for a leader.
const requestTimeout = 15 * time.Second

// Client speaks Consul's HTTP API (https://developer.hashicorp.com/consul/api-docs), as far as tests and
// the demo need it. It may be used by several goroutines.
type Client struct {
	base  string
	token string
	http  *http.Client
}

// StatusError is an answer of Consul's that is not 2xx.
type StatusError struct {
	Method, Path string
	Code         int
	Body         string
}

// Error says what was asked and what Consul answered.
func (e *StatusError) Error() string {
	return fmt.Sprintf("%s %s: HTTP %d: %s", e.Method, e.Path, e.Code, e.Body)
}

// NewClient returns a client for a server such as "http://127.0.0.1:8500". An empty token sends none.
func NewClient(base, token string) *Client {
	return &Client{
		base:  base,
		token: token,
		// No idle connections: they would outlive the client and look like leaks in its users' tests.
		http: &http.Client{Timeout: requestTimeout, Transport: &http.Transport{DisableKeepAlives: true}},
	}
}

// Get reads path into out; a nil out discards the answer.
func (c *Client) Get(ctx context.Context, path string, out any) error {
	return c.Do(ctx, http.MethodGet, path, nil, out)
}

// Put sends in as JSON, or an empty body if in is nil, and discards the answer.
func (c *Client) Put(ctx context.Context, path string, in any) error {
	return c.Do(ctx, http.MethodPut, path, in, nil)
}

// Delete sends a DELETE.
func (c *Client) Delete(ctx context.Context, path string) error {
	return c.Do(ctx, http.MethodDelete, path, nil, nil)
}

// Do sends a request with in as JSON (nil: no body) and decodes the answer into out (nil: discarded).
// An answer that is not 2xx is a [*StatusError].
func (c *Client) Do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("%s %s: encode body: %w", method, path, err)
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return err
	}
	if c.token != "" {
		req.Header.Set("X-Consul-Token", c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("%s %s: read answer: %w", method, path, err)
	}
	if resp.StatusCode/100 != 2 {
		return &StatusError{Method: method, Path: path, Code: resp.StatusCode, Body: strings.TrimSpace(string(data))}
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("%s %s: decode answer: %w", method, path, err)
	}
	return nil
}
