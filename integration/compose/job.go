// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	// jobLimit is how long the dataplane of a job may live on after the job's POST.
	jobLimit = time.Second
	// jobRuns is how often the job may run: on a loaded machine the engine alone can take a second to notice an end.
	jobRuns = 3
)

// job waits for the job's end and that of its dataplane.
func (c *check) job(ctx context.Context) (string, error) {
	var errs []error
	for run := 1; run <= jobRuns; run++ {
		if run > 1 {
			if err := c.jobAgain(ctx); err != nil {
				return "", err
			}
		}
		took, err := c.jobEnd(ctx)
		if err != nil {
			return "", err
		}
		if took <= jobLimit {
			return fmt.Sprintf("the job's container exited with 0 after its POST, and its dataplane's with 0, %d ms later (run %d)",
				took.Milliseconds(), run), nil
		}
		errs = append(errs, fmt.Errorf("run %d: the dataplane ended %d ms after the job", run, took.Milliseconds()))
	}
	return "", errors.Join(errs...)
}

// jobAgain starts the ended containers again; compose would make new ones.
func (c *check) jobAgain(ctx context.Context) error {
	for _, service := range []string{"job-dataplane", "job"} {
		id, err := c.project.container(ctx, service)
		if err != nil {
			return err
		}
		if _, err := c.project.docker.Run(ctx, "start", id); err != nil {
			return err
		}
		if service == "job-dataplane" {
			if err := c.healthy(ctx, service); err != nil {
				return err
			}
		}
	}
	return nil
}

// jobEnd waits until both containers have ended with 0 and gives the time between their ends.
func (c *check) jobEnd(ctx context.Context) (time.Duration, error) {
	var ends [2]time.Time
	for i, service := range []string{"job", "job-dataplane"} {
		var state string
		var err error
		if until(ctx, func(ctx context.Context) bool {
			state, err = c.project.inspect(ctx, service, "{{.State.Status}} {{.State.ExitCode}} {{.State.FinishedAt}}")
			return err == nil && strings.HasPrefix(state, "exited ")
		}) != nil {
			return 0, fmt.Errorf("%s has not ended: %s (%w)", service, state, err)
		}
		var code int
		var finished string
		if _, err := fmt.Sscanf(state, "exited %d %s", &code, &finished); err != nil {
			return 0, fmt.Errorf("state of %s: %q: %w", service, state, err)
		}
		if code != 0 {
			return 0, fmt.Errorf("%s ended with code %d", service, code)
		}
		if ends[i], err = time.Parse(time.RFC3339Nano, finished); err != nil {
			return 0, err
		}
	}
	return max(0, ends[1].Sub(ends[0])), nil
}
