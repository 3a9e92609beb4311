// SPDX-License-Identifier: MPL-2.0

package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
)

// styleAdvice is promtool's exit status for metrics that are valid and whose names or help it does not like.
const styleAdvice = 3

// CheckMetrics has promtool read an exposition in the text format. Its advice on style is no error, and returned as text.
func CheckMetrics(ctx context.Context, exposition io.Reader) (advice string, err error) {
	out, err := promtool(ctx, exposition, "check", "metrics")
	if exit, exited := errors.AsType[*exec.ExitError](err); exited && exit.ExitCode() == styleAdvice {
		return out, nil
	}
	return "", err
}

// CheckRules has promtool read a file of rules.
func CheckRules(ctx context.Context, path string) error {
	_, err := promtool(ctx, nil, "check", "rules", "--lint=all", "--lint-fatal", path)
	return err
}

func promtool(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	path, err := Promtool().Find()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin = stdin
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("promtool %s %s: %w: %s", args[0], args[1], err, out)
	}
	return string(out), err
}
