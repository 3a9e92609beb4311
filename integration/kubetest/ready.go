// SPDX-License-Identifier: MPL-2.0

package kubetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"podplane/integration/proc"
)

const (
	pollInterval   = 50 * time.Millisecond
	requestTimeout = 10 * time.Second
)

// await calls ready until it succeeds, the process has ended, or ctx is done, and then says what was missing.
func await(ctx context.Context, process *proc.Process, ready func(context.Context) error) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-process.Done():
			return errors.New("it has ended")
		case <-ctx.Done():
			return fmt.Errorf("%w, last: %w", context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}

func (c *Cluster) etcdReady(ctx context.Context) error {
	// Kept-alive connections would outlive the cluster.
	return get(ctx, &http.Transport{DisableKeepAlives: true}, c.etcdURL()+"/health")
}

func (c *Cluster) apiReady(ctx context.Context) error {
	config := c.Admin()
	transport, err := rest.TransportFor(config)
	if err != nil {
		return err
	}
	if err := get(ctx, transport, c.URL()+"/readyz"); err != nil {
		return err
	}
	c.client, err = client.NewWithWatch(config, client.Options{Scheme: Scheme()})
	return err
}

// controllersReady waits for what a controller makes last of what pods need.
func (c *Cluster) controllersReady(ctx context.Context) error {
	account, roots := &corev1.ServiceAccount{}, &corev1.ConfigMap{}
	return errors.Join(
		c.client.Get(ctx, client.ObjectKey{Namespace: "default", Name: "default"}, account),
		c.client.Get(ctx, client.ObjectKey{Namespace: "default", Name: "kube-root-ca.crt"}, roots))
}

func get(ctx context.Context, transport http.RoundTripper, url string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", url, resp.Status, body)
	}
	return err
}
