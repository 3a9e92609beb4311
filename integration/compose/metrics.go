// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"podplane/integration/mesh"
)

// metrics asks Prometheus for a metric of each source of one scrape.
func (c *check) metrics(ctx context.Context) (string, error) {
	base, err := c.project.url(ctx, "prometheus", "9090/tcp")
	if err != nil {
		return "", err
	}
	var seen []string
	for _, query := range []string{
		`example_requests_total{instance="api:20200",code="200"}`,              // the application
		`envoy_server_live{instance="api:20200"}`,                              // Envoy
		`podplane_scrape_source_up{instance="api:20200",source="application"}`, // podplane
		`consul_dataplane_envoy_connected{instance="web:20200"}`,               // by its older name
		`scrape_samples_scraped{instance="api:20200"}`,                         // Prometheus itself
	} {
		value, err := awaitSample(ctx, base, query)
		if err != nil {
			return "", err
		}
		name, _, _ := strings.Cut(query, "{")
		seen = append(seen, name+" "+value)
	}
	return strings.Join(seen, ", "), nil
}

// awaitSample waits until the query gives one sample that is not 0, and gives its value.
func awaitSample(ctx context.Context, base, query string) (string, error) {
	var value string
	var err error
	if mesh.Until(ctx, func(ctx context.Context) bool {
		value, err = sample(ctx, base, query)
		return err == nil && value != "0"
	}) != nil {
		return "", fmt.Errorf("%s is %q (%w)", query, value, err)
	}
	return value, nil
}

func sample(ctx context.Context, base, query string) (string, error) {
	answer, err := mesh.Get(ctx, base+"/api/v1/query?query="+url.QueryEscape(query))
	if err != nil {
		return "", err
	}
	if answer.Status != http.StatusOK {
		return "", fmt.Errorf("prometheus answers %d: %s", answer.Status, answer.Body)
	}
	var result struct {
		Data struct {
			Result []struct {
				Value [2]any
			}
		}
	}
	if err := json.Unmarshal([]byte(answer.Body), &result); err != nil {
		return "", err
	}
	if n := len(result.Data.Result); n != 1 {
		return "", fmt.Errorf("there are %d samples", n)
	}
	value, _ := result.Data.Result[0].Value[1].(string)
	return value, nil
}
