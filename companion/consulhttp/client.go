// SPDX-License-Identifier: MPL-2.0

package consulhttp

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-netaddrs"

	"podplane/config"
)

const (
	// dialTimeout bounds a connection, and as much again its handshake.
	dialTimeout = 5 * time.Second
	// resolveInterval is how long a list of servers is used.
	resolveInterval = 30 * time.Second
	// resolveTimeout bounds DNS and commands.
	resolveTimeout = 10 * time.Second
	// tokenHeader is where the API takes its token:
	// https://developer.hashicorp.com/consul/api-docs/api-structure#authentication.
	tokenHeader = "X-Consul-Token"
	// maxRefusal is how much of a refusal is read to know its reason, in bytes.
	maxRefusal = 4 << 10
	// unknownToken is how servers say that a token does not exist.
	unknownToken = "ACL not found"
)

// Config says where the servers are and who asks.
type Config struct {
	Consul config.CompanionConsul
	// Partition is the default admin partition (Consul Enterprise).
	Partition string
	// Token is used instead of the credentials in Consul, if it is set.
	Token config.Secret
	// TokenPath is a file with a token to use instead, if it is set.
	TokenPath string
	// Meta is attached to the token that a login gives.
	Meta map[string]string
}

// Client is a client and its session. Close ends the session.
type Client struct {
	// API is the client of the API. Each of its requests goes to the server that
	// answered last.
	API   *api.Client
	token tokenSource
	via   *transport
}

// New checks the configuration. The servers are not asked yet.
func New(cfg Config, log hclog.Logger) (*Client, error) {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	tlsConfig, err := clientTLS(cfg.Consul)
	if err != nil {
		return nil, err
	}
	scheme := "https"
	if tlsConfig == nil {
		scheme = "http"
	}
	via := &transport{
		cfg:  cfg,
		port: httpPort(cfg.Consul),
		log:  log,
		next: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext,
			DialTLSContext:        dialTLS(cfg.Consul, tlsConfig),
			ResponseHeaderTimeout: time.Minute,
			MaxIdleConnsPerHost:   64, // as many as workers may be
			IdleConnTimeout:       90 * time.Second,
		},
	}
	build := func(rt http.RoundTripper) (*api.Client, error) {
		return api.NewClient(&api.Config{
			Address: "consul.invalid", Scheme: scheme, Datacenter: cfg.Consul.Datacenter, Partition: cfg.Partition,
			HttpClient: &http.Client{Transport: rt},
		})
	}
	bare, err := build(&withToken{next: via, token: noToken{}})
	if err != nil {
		return nil, fmt.Errorf("make consul client: %w", err)
	}
	c := &Client{token: newToken(cfg, bare, log), via: via}
	if c.API, err = build(&withToken{next: via, token: c.token}); err != nil {
		return nil, fmt.Errorf("make consul client: %w", err)
	}
	return c, nil
}

// Close logs out, if there was a login, and closes connections. ctx bounds it.
func (c *Client) Close(ctx context.Context) error {
	defer c.via.next.CloseIdleConnections()
	return c.token.close(ctx)
}

// httpPort is the port of the HTTP API, as Consul numbers them:
// https://developer.hashicorp.com/consul/docs/reference/architecture/ports.
func httpPort(c config.CompanionConsul) int {
	const plain, encrypted = 8500, 8501
	switch {
	case c.HTTPPort != 0:
		return c.HTTPPort
	case c.TLS.Disabled:
		return plain
	default:
		return encrypted
	}
}

// clientTLS is nil for plain text.
func clientTLS(c config.CompanionConsul) (*tls.Config, error) {
	if c.TLS.Disabled {
		return nil, nil //nolint:nilnil // no TLS is no error
	}
	out := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         c.TLS.ServerName,
		InsecureSkipVerify: c.TLS.InsecureSkipVerify, //nolint:gosec // asked for
	}
	if out.ServerName == "" && !strings.HasPrefix(c.Addresses, "exec=") {
		out.ServerName = c.Addresses
	}
	if _, err := authorities(c.TLS.CACertsPath); err != nil {
		return nil, err
	}
	if c.TLS.CertFile != "" {
		// Read for each connection, so that a rotated one is taken into use.
		out.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(c.TLS.CertFile, c.TLS.KeyFile)
			return &pair, err
		}
	}
	return out, nil
}

// authorities reads a file of CAs; nil are the system's.
func authorities(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // the system's
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read consul's authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read consul's authorities: %s holds no certificate", path)
	}
	return pool, nil
}

// dialTLS reads the CAs anew for each connection, so that rotated ones are taken
// into use.
func dialTLS(c config.CompanionConsul, base *tls.Config) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, 2*dialTimeout)
		defer cancel()
		own := base.Clone()
		var err error
		if own.RootCAs, err = authorities(c.TLS.CACertsPath); err != nil {
			return nil, err
		}
		if own.ServerName == "" {
			if own.ServerName, _, err = net.SplitHostPort(addr); err != nil {
				return nil, err
			}
		}
		return (&tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}, Config: own}).DialContext(ctx, network, addr)
	}
}

// transport sends requests to a server that can be reached.
type transport struct {
	cfg  Config
	port int
	log  hclog.Logger
	next *http.Transport

	mu       sync.Mutex
	servers  []string // host:port, the one in use first
	resolved time.Time
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	servers, err := t.resolve(request.Context())
	if err != nil {
		return nil, err
	}
	var failed []error
	for i, server := range servers {
		attempt := request.Clone(request.Context())
		attempt.URL.Host, attempt.Host = server, server
		if i > 0 && request.GetBody != nil {
			if attempt.Body, err = request.GetBody(); err != nil {
				return nil, err
			}
		}
		response, err := t.next.RoundTrip(attempt)
		if err == nil {
			if response.StatusCode >= http.StatusInternalServerError {
				t.leave(server) // it may have lost its leader; the next request may do better elsewhere
			}
			return response, nil
		}
		t.leave(server)
		failed = append(failed, err)
		dial, ok := errors.AsType[*net.OpError](err)
		if !ok || dial.Op != "dial" || request.Body != nil && request.GetBody == nil || request.Context().Err() != nil {
			return nil, err
		}
	}
	return nil, errors.Join(failed...)
}

// resolve gives the servers, in the order in which to try them.
func (t *transport) resolve(ctx context.Context) ([]string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.servers) > 0 && time.Since(t.resolved) < resolveInterval {
		return append([]string(nil), t.servers...), nil
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	found, err := netaddrs.IPAddrs(ctx, t.cfg.Consul.Addresses, t.log)
	if err != nil || len(found) == 0 {
		if len(t.servers) > 0 {
			return append([]string(nil), t.servers...), nil // better than none
		}
		return nil, fmt.Errorf("find consul servers at %s: %w", t.cfg.Consul.Addresses, err)
	}
	var servers []string
	for _, ip := range found {
		server := net.JoinHostPort(ip.String(), strconv.Itoa(t.port))
		if len(t.servers) > 0 && server == t.servers[0] {
			servers = append([]string{server}, servers...) // stay with the one in use
			continue
		}
		servers = append(servers, server)
	}
	t.servers, t.resolved = servers, time.Now()
	return append([]string(nil), servers...), nil
}

// leave moves a server to the end of the list.
func (t *transport) leave(server string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.servers) > 1 && t.servers[0] == server {
		t.servers = append(t.servers[1:len(t.servers):len(t.servers)], server)
	}
}

// withToken puts the token into requests.
type withToken struct {
	next  http.RoundTripper
	token tokenSource
}

// RoundTrip implements [http.RoundTripper].
func (w *withToken) RoundTrip(request *http.Request) (*http.Response, error) {
	token, err := w.token.get(request.Context())
	if err != nil {
		return nil, err
	}
	request = request.Clone(request.Context())
	if token != "" {
		request.Header.Set(tokenHeader, token.Reveal())
	}
	response, err := w.next.RoundTrip(request)
	if err != nil || response.StatusCode != http.StatusForbidden {
		return response, err
	}
	start, _ := io.ReadAll(io.LimitReader(response.Body, maxRefusal))
	if strings.Contains(string(start), unknownToken) {
		w.token.forget(token)
	}
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(start), response.Body), response.Body}
	return response, nil
}
