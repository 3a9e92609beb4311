// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"podplane/integration/consultest"
	"podplane/integration/mesh"
)

// check is the state of a run.
type check struct {
	project *project
	start   time.Time
	web     string // URLs
	consul  *consultest.Client
}

type step struct {
	what string
	do   func(context.Context) (string, error)
}

func (c *check) steps() []step {
	return []step{
		{"compose up", c.up},
		{"the containers of podplane", c.contained},
		{"request web → api", c.request},
		{"the connection is mutual TLS", c.mutualTLS},
		{"deny intention", c.deny},
		{"intention allows again", c.allow},
		{"job", c.job},
		{"merged metrics in Prometheus", c.metrics},
		{"SIGTERM to web's dataplane", c.terminate},
	}
}

func (c *check) up(ctx context.Context) (string, error) {
	if err := c.project.compose(ctx, "up", "--detach"); err != nil {
		return "", err
	}
	url, err := c.project.url(ctx, "consul", "8500/tcp")
	if err != nil {
		return "", err
	}
	c.consul = consultest.NewClient(url, "")
	if c.web, err = c.project.url(ctx, "web", "8080/tcp"); err != nil {
		return "", err
	}
	for _, service := range []string{"api-dataplane", "web-dataplane"} {
		if err := c.healthy(ctx, service); err != nil {
			return "", err
		}
	}
	return "both dataplanes are healthy, says the HEALTHCHECK of their image", nil
}

func (c *check) healthy(ctx context.Context, service string) error {
	var last string
	err := until(ctx, func(ctx context.Context) bool {
		health, err := c.project.inspect(ctx, service, "{{.State.Status}}, {{.State.Health.Status}}")
		last = health
		if err != nil {
			last = err.Error()
		}
		return health == "running, healthy"
	})
	if err != nil {
		return fmt.Errorf("%s is not healthy (%w), but %s", service, err, last)
	}
	return nil
}

func (c *check) request(ctx context.Context) (string, error) {
	answer, err := c.await(ctx, http.StatusOK)
	if err != nil {
		return "", err
	}
	// Only the dataplane of api knows who called, from the certificate.
	if !strings.Contains(answer.Body, "this is api, called by spiffe://") || !strings.HasSuffix(answer.Body, "/svc/web") {
		return "", fmt.Errorf("the answer is %q", answer.Body)
	}
	return fmt.Sprintf("%d %q", answer.Status, answer.Body), nil
}

// await asks web until the answer has the wanted status.
func (c *check) await(ctx context.Context, status int) (mesh.Answer, error) {
	var answer mesh.Answer
	var err error
	if mesh.Until(ctx, func(ctx context.Context) bool {
		answer, err = mesh.Get(ctx, c.web)
		return err == nil && answer.Status == status
	}) != nil {
		return answer, fmt.Errorf("no answer with status %d; the last one is %d %q (%w)", status, answer.Status, answer.Body, err)
	}
	return answer, nil
}

// mutualTLS looks at api's public listener from a container that is in the network and not in the mesh.
func (c *check) mutualTLS(ctx context.Context) (string, error) {
	image, err := c.project.inspect(ctx, "api", "{{.Config.Image}}")
	if err != nil {
		return "", err
	}
	networks, err := c.project.inspect(ctx, "api", "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end}}")
	if err != nil {
		return "", err
	}
	seen, err := c.project.docker.Run(ctx, "run", "--rm", "--network", networks, image, "look", "api:20000")
	if err == nil && !strings.Contains(seen, "/svc/api]") {
		err = errors.New("it is not api's certificate: " + seen)
	}
	return seen, err
}

func (c *check) deny(ctx context.Context) (string, error) {
	return c.change(ctx, consultest.Deny, http.StatusForbidden)
}

func (c *check) allow(ctx context.Context) (string, error) {
	return c.change(ctx, consultest.Allow, http.StatusOK)
}

// change writes the intention and waits until a request shows it.
func (c *check) change(ctx context.Context, action string, status int) (string, error) {
	if err := c.consul.SetIntention(ctx, "web", "api", action); err != nil {
		return "", err
	}
	start := time.Now()
	answer, err := c.await(ctx, status)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d %q, %d ms after it was written", answer.Status, answer.Body, time.Since(start).Milliseconds()), nil
}

// terminate stops one dataplane as `compose stop` does.
func (c *check) terminate(ctx context.Context) (string, error) {
	if err := c.project.compose(ctx, "stop", "web-dataplane"); err != nil {
		return "", err
	}
	code, err := c.project.inspect(ctx, "web-dataplane", "{{.State.ExitCode}}")
	if err != nil {
		return "", err
	}
	if code != "0" {
		return "", fmt.Errorf("it ended with code %s", code)
	}
	instances, err := c.consul.Instances(ctx, "web")
	if err != nil {
		return "", err
	}
	if len(instances) > 0 {
		return "", fmt.Errorf("web is still registered: %+v", instances)
	}
	return "it ended with exit code 0, and web has left the catalog", nil
}
