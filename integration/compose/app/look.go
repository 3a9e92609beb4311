// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
)

// look tells what is seen at a public listener without a certificate of the mesh: whose certificate it presents, and
// that it refuses. It is an error if anybody may connect, or in plain text.
func look(ctx context.Context, addr string, stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	// Who it is, is what is to be shown; it is not trusted with anything.
	dialer := &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("no TLS: %w", err)
	}
	defer func() { _ = conn.Close() }()
	secured, _ := conn.(*tls.Conn)
	presented := secured.ConnectionState().PeerCertificates[0]
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	// Under TLS 1.3 a refusal arrives with the first read.
	_, err = conn.Read(make([]byte, 1))
	if timeout := net.Error(nil); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		return errors.New("it accepts a client without a certificate")
	}
	if err := refusesPlain(ctx, addr); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "it presents %v, refuses a client without a certificate (%v), and plain text\n", presented.URIs, err)
	return err
}

func refusesPlain(ctx context.Context, addr string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/", http.NoBody)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return nil //nolint:nilerr // that it is refused is what is wanted
	}
	_ = resp.Body.Close()
	return fmt.Errorf("it answers plain text with %s", resp.Status)
}
