// SPDX-License-Identifier: MPL-2.0

package selfregister

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Server is how to reach the HTTP API of a Consul server at this moment.
type Server struct {
	// Host is an IP address or a name.
	Host string
	// Token is the ACL token; empty sends none.
	Token string
	// TLS is for HTTPS; nil speaks plain text.
	TLS *tls.Config
	// Epoch is another one whenever the server, the token or the TLS files are.
	Epoch uint64
}

// The ports of Consul's HTTP API.
// https://developer.hashicorp.com/consul/docs/reference/architecture/ports
const (
	defaultHTTPPort  = 8500
	defaultHTTPSPort = 8501
)

const (
	// requestTimeout bounds one request. A server without a leader takes 7 s to
	// say so, and meanwhile another one may be found.
	requestTimeout = 5 * time.Second
	// maxAnswer bounds what is read of an answer: the services of a node.
	maxAnswer = 16 << 20
	// maxWords bounds what is kept of a refusal.
	maxWords = 500
)

// AnswerError is a refusal by a Consul server.
type AnswerError struct {
	// Operation is what was asked for.
	Operation string
	// Code is the HTTP status.
	Code int
	// Words are the server's own.
	Words string
}

// Error says what was asked and what the server answered.
func (e *AnswerError) Error() string {
	return fmt.Sprintf("%s: HTTP %d: %s", e.Operation, e.Code, e.Words)
}

// noServerError says why there is no server to talk to at this moment. Whoever
// looks for one says so in the log, too.
type noServerError struct{ err error }

func (e *noServerError) Error() string { return "wait for a Consul server: " + e.err.Error() }
func (e *noServerError) Unwrap() error { return e.err }

// isRefusal tells whether an error is an answer that another server would give,
// too, as opposed to servers that are away or have no leader.
func isRefusal(err error) bool {
	var answer *AnswerError
	return errors.As(err, &answer) && answer.Code >= 400 && answer.Code < 500 && answer.Code != http.StatusTooManyRequests
}

// catalog speaks to whichever server is in use.
type catalog struct {
	server               func() (Server, error)
	port                 int  // 0 is the default of the scheme
	plain                bool // never TLS
	redact               func(string) string
	namespace, partition string

	mu        sync.Mutex
	epoch     uint64
	transport *http.Transport
}

// client gives a client for the server; connections to another one are not kept.
func (c *catalog) client(s Server) *http.Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.transport == nil || c.epoch != s.Epoch {
		if c.transport != nil {
			c.transport.CloseIdleConnections()
		}
		c.epoch = s.Epoch
		// No proxy: what is in the environment is for the application's traffic.
		c.transport = &http.Transport{TLSClientConfig: s.TLS, MaxIdleConnsPerHost: 1, IdleConnTimeout: 90 * time.Second}
	}
	return &http.Client{Transport: c.transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // the token is for this server
	}}
}

// close gives back the connections.
func (c *catalog) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.transport != nil {
		c.transport.CloseIdleConnections()
	}
}

// base is the URL of the server's HTTP API.
func (c *catalog) base(s *Server) string {
	if c.plain {
		s.TLS = nil
	}
	scheme, port := "http", defaultHTTPPort
	if s.TLS != nil {
		scheme, port = "https", defaultHTTPSPort
	}
	if c.port != 0 {
		port = c.port
	}
	return scheme + "://" + net.JoinHostPort(s.Host, strconv.Itoa(port))
}

// do sends in as JSON, if there is any, and decodes the answer into out, if that
// is asked for. sent tells whether the server may have acted on the request.
func (c *catalog) do(ctx context.Context, r request) (sent bool, err error) {
	server, err := c.server()
	if err != nil {
		return false, &noServerError{err}
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var body io.Reader = http.NoBody
	if r.in != nil {
		data, err := json.Marshal(r.in)
		if err != nil {
			return false, fmt.Errorf("%s: %w", r.operation, err)
		}
		body = bytes.NewReader(data)
	}
	base := c.base(&server)
	req, err := http.NewRequestWithContext(ctx, r.method, base+r.path+c.query(), body)
	if err != nil {
		return false, fmt.Errorf("%s: %w", r.operation, err)
	}
	if server.Token != "" {
		req.Header.Set("X-Consul-Token", server.Token)
	}
	answer, err := c.client(server).Do(req)
	if err != nil {
		var op *net.OpError
		neverSent := errors.As(err, &op) && op.Op == "dial"
		return !neverSent, fmt.Errorf("%s: %s", r.operation, c.redact(err.Error()))
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode/100 != 2 {
		words, _ := io.ReadAll(io.LimitReader(answer.Body, maxWords))
		text := c.redact(strings.Join(strings.Fields(string(words)), " "))
		return answer.StatusCode >= 500, &AnswerError{Operation: r.operation, Code: answer.StatusCode, Words: text}
	}
	if r.out == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, maxAnswer)) // so that the connection can be used again
		return true, nil
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(r.out); err != nil {
		return true, fmt.Errorf("%s: read the answer: %w", r.operation, err)
	}
	return true, nil
}

// request is one request to the HTTP API.
type request struct {
	operation    string // for errors
	method, path string
	in, out      any
}

func (c *catalog) query() string {
	q := url.Values{}
	if c.namespace != "" {
		q.Set("ns", c.namespace)
	}
	if c.partition != "" {
		q.Set("partition", c.partition)
	}
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}

// node is what the catalog has under the name of our node.
type node struct {
	// Node is nil if there is no such node.
	Node *struct {
		Address string
		Meta    map[string]string
	}
	Services []nodeService
}

type nodeService struct {
	ID, Service string
	Meta        map[string]string
}

// isAgents tells whether a Consul agent keeps the node: agents put their version
// into its meta.
func (n node) isAgents() bool { return n.Node != nil && n.Node.Meta["consul-version"] != "" }

// isOurs tells whether a podplane has made the node.
func (n node) isOurs() bool { return n.Node != nil && n.Node.Meta[metaManagedBy] == managedBy }

// isAnothers tells whether another podplane has registered a service since: two
// machines may share the node's name and the file, as the old and the new one of
// a replacement do.
func (n node) isAnothers(id, instance string) bool {
	return slices.ContainsFunc(n.Services, func(s nodeService) bool {
		return s.ID == id && s.Meta[metaManagedBy] == managedBy && s.Meta[metaInstance] != instance
	})
}

func (c *catalog) nodeServices(ctx context.Context, name string) (node, error) {
	var n node
	_, err := c.do(ctx, request{
		"list the services of node " + name, http.MethodGet, "/v1/catalog/node-services/" + url.PathEscape(name), nil, &n,
	})
	return n, err
}

// nodeCheck is a check as the catalog has it.
type nodeCheck struct{ CheckID, ServiceID, Type string }

func (c *catalog) nodeChecks(ctx context.Context, name string) ([]nodeCheck, error) {
	var checks []nodeCheck
	_, err := c.do(ctx, request{
		"list the checks of node " + name, http.MethodGet, "/v1/health/node/" + url.PathEscape(name), nil, &checks,
	})
	return checks, err
}

// register writes an instance with its checks, and the node if there is none.
func (c *catalog) register(ctx context.Context, r registration) (sent bool, err error) {
	return c.do(ctx, request{
		"register service " + r.Service.ID + " on node " + r.Node, http.MethodPut, "/v1/catalog/register", r, nil,
	})
}

// deregistration names a service, a check, or if neither is given a node. What
// is not there is no error.
type deregistration struct {
	Node      string
	ServiceID string `json:",omitempty"`
	CheckID   string `json:",omitempty"`
	Namespace string `json:",omitempty"`
	Partition string `json:",omitempty"`
}

func (c *catalog) deregister(ctx context.Context, d deregistration) error {
	d.Namespace, d.Partition = c.namespace, c.partition
	what := "node " + d.Node
	if d.ServiceID != "" {
		what = "service " + d.ServiceID + " of " + what
	} else if d.CheckID != "" {
		what = "check " + d.CheckID + " of " + what
	}
	_, err := c.do(ctx, request{"deregister " + what, http.MethodPut, "/v1/catalog/deregister", d, nil})
	return err
}
