// SPDX-License-Identifier: MPL-2.0

package envoy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

const (
	// DefaultAdminTimeout bounds one call of the admin API.
	DefaultAdminTimeout = time.Second
	// DefaultDumpTimeout bounds a whole config dump, which can be tens of megabytes.
	DefaultDumpTimeout = 10 * time.Second

	// maxAnswer bounds an answer that is held in memory. /certs and /clusters of a large mesh stay far below it.
	maxAnswer = 16 << 20
	// maxErrorText bounds what of an error's body is repeated.
	maxErrorText = 256
)

// AdminConfig says where the admin API is and which listeners are not traffic.
type AdminConfig struct {
	// Address is the IP address that Envoy's admin listener is bound to, with its port: "127.0.0.1:19000". The
	// unspecified address is reached by loopback. A host name is refused: nothing but this pod's Envoy is meant.
	Address string
	// IgnoreHTTP are the stat prefixes of HTTP listeners whose traffic is not the application's: the Prometheus, stats
	// and ready listeners. One that ends in a dot stands for all that begin with it. The admin listener is always
	// ignored.
	IgnoreHTTP []string
	// Timeout bounds each call but a config dump. 0 means [DefaultAdminTimeout].
	Timeout time.Duration
	// DumpTimeout bounds a config dump. 0 means [DefaultDumpTimeout].
	DumpTimeout time.Duration
}

// Admin is a client of Envoy's admin API. https://www.envoyproxy.io/docs/envoy/latest/operations/admin
//
// It is safe for concurrent use and holds no connection between calls, so a new Envoy is never asked over the
// connection of an old one. Each call's deadline is the earlier one of its context's and the configured timeout.
type Admin struct {
	cfg     AdminConfig
	addr    string
	base    string
	client  *http.Client
	traffic activityCounter
}

// NewAdmin checks the configuration. It contacts nobody.
func NewAdmin(cfg AdminConfig) (*Admin, error) {
	setDefault(&cfg.Timeout, DefaultAdminTimeout)
	setDefault(&cfg.DumpTimeout, DefaultDumpTimeout)
	addr, err := netip.ParseAddrPort(cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("envoy admin address %q is not an IP address with a port", cfg.Address)
	}
	if ip := addr.Addr().Unmap(); ip.IsUnspecified() {
		loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
		if ip.Is6() {
			loopback = netip.IPv6Loopback()
		}
		addr = netip.AddrPortFrom(loopback, addr.Port())
	}
	return &Admin{
		cfg:  cfg,
		addr: addr.String(),
		base: "http://" + addr.String(),
		client: &http.Client{
			Transport: &http.Transport{
				Proxy:             nil, // never by the environment's proxy
				DialContext:       (&net.Dialer{}).DialContext,
				DisableKeepAlives: true,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		traffic: newActivityCounter(cfg.IgnoreHTTP),
	}, nil
}

// Address is the host:port at which the admin API is reached.
func (a *Admin) Address() string { return a.addr }

// StatusError is an answer of the admin API with an unexpected status.
type StatusError struct {
	Code int
	Body string // its beginning
}

// Error gives status and body.
func (e *StatusError) Error() string {
	text := fmt.Sprintf("status %d", e.Code)
	if e.Body != "" {
		text += ": " + e.Body
	}
	return text
}

// call makes one request and hands the answer to read, whatever its status. Path and query are path and query.
func (a *Admin) call(ctx context.Context, method, path string, read func(status int, body io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, nil)
	if err != nil {
		return fmt.Errorf("envoy admin %s: %w", path, err)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		// The URL is in the wrapped text already; once is enough.
		if urlErr, ok := errors.AsType[*url.Error](err); ok {
			err = urlErr.Err
		}
		return fmt.Errorf("envoy admin %s: %w", path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if err := read(resp.StatusCode, resp.Body); err != nil {
		return fmt.Errorf("envoy admin %s: %w", path, err)
	}
	return nil
}

// get and post demand a 200 and hand its body to read.
func (a *Admin) get(ctx context.Context, path string, read func(io.Reader) error) error {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Timeout)
	defer cancel()
	return a.call(ctx, http.MethodGet, path, wantOK(read))
}

func (a *Admin) post(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Timeout)
	defer cancel()
	return a.call(ctx, http.MethodPost, path, wantOK(func(body io.Reader) error {
		_, err := readAll(body)
		return err
	}))
}

func wantOK(read func(io.Reader) error) func(int, io.Reader) error {
	return func(status int, body io.Reader) error {
		if status == http.StatusOK {
			return read(body)
		}
		text, _ := io.ReadAll(io.LimitReader(body, maxErrorText))
		return &StatusError{Code: status, Body: strings.TrimSpace(string(text))}
	}
}

// readAll reads an answer that is held in memory.
func readAll(body io.Reader) ([]byte, error) {
	var buf bytes.Buffer
	n, err := buf.ReadFrom(io.LimitReader(body, maxAnswer+1))
	if err != nil {
		return nil, err
	}
	if n > maxAnswer {
		return nil, fmt.Errorf("answer is larger than %d bytes", maxAnswer)
	}
	return buf.Bytes(), nil
}
