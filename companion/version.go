// SPDX-License-Identifier: MPL-2.0

package companion

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/rest"

	"podplane/config"
)

const (
	// nativeSince is the first version in which native sidecars are on by default:
	// https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/.
	nativeMajor, nativeMinor = 1, 29
	versionTimeout           = 10 * time.Second
	versionRetry             = time.Second
)

// apiVersion knows whether the API server has native sidecars.
type apiVersion struct {
	setting  string // of config.Inject.NativeSidecars
	interval time.Duration
	ask      func(context.Context) (string, error)
	log      hclog.Logger
	native   atomic.Pointer[bool]
}

func (c *Companion) buildVersion() error {
	client, err := rest.HTTPClientFor(c.kube)
	if err != nil {
		return fmt.Errorf("make Kubernetes client: %w", err)
	}
	base, _, err := rest.DefaultServerUrlFor(c.kube)
	if err != nil {
		return fmt.Errorf("find the API server: %w", err)
	}
	c.version = &apiVersion{
		setting: c.config.Inject.NativeSidecars, interval: c.config.Webhook.VersionInterval, log: c.log.Named("version"),
		ask: func(ctx context.Context) (string, error) {
			return askVersion(ctx, client, base.JoinPath("version").String())
		},
	}
	if c.version.setting != config.NativeAuto {
		native := c.version.setting == config.NativeOn
		c.version.native.Store(&native)
	}
	return nil
}

// askVersion reads the API server's version.
func askVersion(ctx context.Context, client *http.Client, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %s", response.Status)
	}
	var info struct {
		GitVersion string `json:"gitVersion"`
	}
	const limit = 64 << 10
	if err := json.NewDecoder(http.MaxBytesReader(nil, response.Body, limit)).Decode(&info); err != nil {
		return "", fmt.Errorf("read the version: %w", err)
	}
	return info.GitVersion, nil
}

// Ready tells whether the version is known.
func (v *apiVersion) Ready() error {
	if v.native.Load() == nil {
		return errors.New("the version of the API server is not known yet")
	}
	return nil
}

// Native tells whether pods get native sidecars; false while that is not known.
func (v *apiVersion) Native() bool {
	native := v.native.Load()
	return native != nil && *native
}

// Run asks for the version now and then, until ctx ends: API servers are
// upgraded while this runs.
func (v *apiVersion) Run(ctx context.Context) error {
	for {
		wait := v.interval
		if v.setting == config.NativeAuto {
			if err := v.look(ctx); err != nil && ctx.Err() == nil {
				v.log.Warn("cannot ask for the version of the API server, retrying", "error", err)
				if v.native.Load() == nil {
					wait = versionRetry
				}
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

func (v *apiVersion) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	text, err := v.ask(ctx)
	if err != nil {
		return err
	}
	parsed, err := version.ParseGeneric(text)
	if err != nil {
		return err
	}
	native := parsed.AtLeast(version.MajorMinor(nativeMajor, nativeMinor))
	if before := v.native.Swap(&native); before == nil || *before != native {
		v.log.Info("asked for the version of the API server", "version", text, "native_sidecars", native)
	}
	return nil
}
