// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// transfer is what curl is told about the URLs up to the next --next.
type transfer struct {
	method  string
	retries int
	delay   time.Duration
}

// curl does what curl does with the options -f, -s, -S, -X METHOD, --retry N, --retry-delay SECONDS, --fail-early,
// --next and URLs; it always fails at the first answer that is an error.
func curl(ctx context.Context, args []string, stdout io.Writer) error {
	t := transfer{method: http.MethodGet}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--next":
			t = transfer{method: http.MethodGet}
		case arg == "-X" || arg == "--retry" || arg == "--retry-delay":
			if len(args) == 0 {
				return fmt.Errorf("%s needs a value", arg)
			}
			if err := t.set(arg, args[0]); err != nil {
				return err
			}
			args = args[1:]
		case arg == "--fail-early", strings.HasPrefix(arg, "-") && strings.Trim(arg[1:], "fsS") == "":
			// As it is anyway.
		case strings.HasPrefix(arg, "-"):
			return fmt.Errorf("option %s is not one of those that this stand-in for curl knows", arg)
		default:
			if err := t.fetch(ctx, arg, stdout); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *transfer) set(option, value string) error {
	if option == "-X" {
		t.method = value
		return nil
	}
	n, err := strconv.Atoi(value)
	if err != nil {
		return fmt.Errorf("%s: %w", option, err)
	}
	if option == "--retry" {
		t.retries = n
	} else {
		t.delay = time.Duration(n) * time.Second
	}
	return nil
}

// errLater is wrapped by an error after which curl would try again.
var errLater = errors.New("may pass")

func (t *transfer) fetch(ctx context.Context, url string, stdout io.Writer) error {
	for retry := 0; ; retry++ {
		err := t.once(ctx, url, stdout)
		if !errors.Is(err, errLater) || retry == t.retries {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(t.delay):
		}
	}
}

func (t *transfer) once(ctx context.Context, url string, stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, t.method, url, http.NoBody)
	if err != nil {
		return err
	}
	// A connection of its own for each: what curl keeps open is not missed.
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	switch {
	case resp.StatusCode >= http.StatusInternalServerError:
		return fmt.Errorf("%s %s: %s, which %w", t.method, url, resp.Status, errLater)
	case resp.StatusCode >= http.StatusBadRequest:
		return fmt.Errorf("%s %s: %s", t.method, url, resp.Status)
	}
	_, err = io.Copy(stdout, resp.Body)
	return err
}
