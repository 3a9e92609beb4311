// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"podplane/companion"
	"podplane/config"
	"podplane/injector"
	"podplane/injector/webhook"
)

// injectPods is what decides on pods.
func injectPods(c *config.Companion, native func() bool) (webhook.Mutator, error) {
	cfg, err := injectorConfig(c)
	if err != nil {
		return nil, err
	}
	ca := &authorities{path: c.Consul.TLS.CACertsPath}
	if cfg.Consul.CA, err = ca.current(); err != nil {
		return nil, err
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return func(_ context.Context, r webhook.Request) (webhook.Decision, error) {
		now := cfg
		now.Native = native()
		var err error
		if now.Consul.CA, err = ca.current(); err != nil {
			return webhook.Decision{}, err
		}
		result, err := injector.Mutate(r.Pod, r.Namespace, &now)
		return webhook.Decision{Patch: result.Patch, Refusal: result.Refusal, Warnings: result.Warnings}, err
	}, nil
}

// injectorConfig says the companion's settings in the injector's words, all but
// what changes while it runs.
func injectorConfig(c *config.Companion) (injector.Config, error) {
	defaults, err := companion.PodDefaults(c)
	return injector.Config{
		Image:           c.Inject.Image,
		PullPolicy:      c.Inject.ImagePullPolicy,
		DefaultInject:   c.Inject.Default,
		AllowNamespaces: c.Inject.AllowNamespaces,
		DenyNamespaces:  c.Inject.DenyNamespaces,
		Compat:          c.Inject.Compat,
		CompanionImage:  c.Inject.CompanionImage,
		Consul: injector.Consul{
			Addresses:           c.Consul.Addresses,
			GRPCPort:            c.Consul.GRPCPort,
			ServerWatchDisabled: c.Consul.ServerWatchDisabled,
			TLSDisabled:         c.Consul.TLS.Disabled,
			TLSSkipVerify:       c.Consul.TLS.InsecureSkipVerify,
			TLSServerName:       c.Consul.TLS.ServerName,
		},
		Login: injector.Login{
			AuthMethod:    c.Inject.AuthMethod,
			Audience:      c.Inject.TokenAudience,
			ExpirySeconds: int64(c.Inject.TokenExpiry / time.Second),
		},
		Destination: companion.Destination(c),
		Partition:   c.Tenancy.Partition,
		NodeSuffix:  c.Registrar.NodeSuffix,
		LogLevel:    c.Inject.LogLevel,
		LogJSON:     c.Inject.LogJSON,
		Defaults:    defaults,
	}, err
}

// maxAuthorities bounds what is read, in bytes; the injector takes less.
const maxAuthorities = 1 << 20

// authorities are the CAs of the Consul servers, which may be replaced while the
// companion runs: a volume's file changes with its Secret.
type authorities struct {
	path string

	mu    sync.Mutex
	since time.Time
	size  int64
	text  string
}

// current returns what the file holds, empty if there is no file to read. Once
// there was something good in it, that is used until there is something good
// again: pods go on being made.
func (a *authorities) current() (string, error) {
	if a.path == "" {
		return "", nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.look(); err != nil && a.text == "" {
		return "", fmt.Errorf("read the CAs of the Consul servers: %w", err)
	}
	return a.text, nil
}

func (a *authorities) look() error {
	info, err := os.Stat(a.path)
	if err != nil || info.ModTime().Equal(a.since) && info.Size() == a.size {
		return err
	}
	file, err := os.Open(a.path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	data, err := io.ReadAll(io.LimitReader(file, maxAuthorities))
	if err != nil {
		return err
	}
	if err := injector.CheckCA(string(data)); err != nil {
		return err
	}
	a.since, a.size, a.text = info.ModTime(), info.Size(), string(data)
	return nil
}
