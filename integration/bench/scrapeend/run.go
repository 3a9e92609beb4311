// SPDX-License-Identifier: MPL-2.0

package scrapeend

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"podplane/integration/bench/control"
)

// The roles.
const (
	RoleApplication = "application"
	RoleCopy        = "copy"
)

// RunApplication serves the exposition of an application with so many series, at
// every path, until the benchmark hangs up or ctx ends.
func RunApplication(ctx context.Context, controlPath string, series int) error {
	return run(ctx, controlPath, RoleApplication, Serve(Application(series)))
}

// RunCopy answers every request with what the URLs give, one after the other and
// byte for byte, until the benchmark hangs up or ctx ends.
func RunCopy(ctx context.Context, controlPath string, urls []string) error {
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	return run(ctx, controlPath, RoleCopy, copying(&http.Client{Transport: transport}, urls))
}

// Serve answers every request with the exposition.
func Serve(exposition []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = w.Write(exposition)
	})
}

func copying(client *http.Client, urls []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		for _, url := range urls {
			if err := copyOne(r.Context(), w, client, url); err != nil {
				panic(http.ErrAbortHandler) // a scrape that is cut off is not to look like one
			}
		}
	})
}

func copyOne(ctx context.Context, w io.Writer, client *http.Client, url string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	_, err = io.Copy(w, response.Body)
	return err
}

func run(ctx context.Context, controlPath, role string, handler http.Handler) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	program, err := control.Dial(ctx, controlPath)
	if err == nil {
		err = program.Hello(role, l.Addr().String())
	}
	if err == nil {
		err = program.Serve(ctx, nil)
	}
	err = errors.Join(err, srv.Close())
	if served := <-served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
