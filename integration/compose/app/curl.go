// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// curl does what curl does with the options -f, -s, -S, -X METHOD, --fail-early, --next and URLs; it always fails at
// the first answer that is an error.
func curl(ctx context.Context, args []string, stdout io.Writer) error {
	method := http.MethodGet
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--next":
			method = http.MethodGet
		case arg == "-X":
			if len(args) == 0 {
				return fmt.Errorf("-X needs a method")
			}
			method, args = args[0], args[1:]
		case arg == "--fail-early", strings.HasPrefix(arg, "-") && strings.Trim(arg[1:], "fsS") == "":
			// As it is anyway.
		case strings.HasPrefix(arg, "-"):
			return fmt.Errorf("option %s is not one of those that this stand-in for curl knows", arg)
		default:
			if err := fetch(ctx, method, arg, stdout); err != nil {
				return err
			}
		}
	}
	return nil
}

func fetch(ctx context.Context, method, url string, stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s %s: %s", method, url, resp.Status)
	}
	_, err = io.Copy(stdout, resp.Body)
	return err
}
