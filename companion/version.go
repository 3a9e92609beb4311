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
	// nativeMinor is the first version 1.x in which native sidecars are on by default:
	// https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/.
	nativeMinor    = 29
	versionTimeout = 10 * time.Second
	versionRetry   = time.Second
)

// apiVersion knows whether the cluster has native sidecars.
type apiVersion struct {
	setting  string // of config.Inject.NativeSidecars
	interval time.Duration
	ask      func(context.Context) (string, error)
	log      hclog.Logger
	found    atomic.Pointer[sidecars]
}

// sidecars is what follows from a version: whether pods get native sidecars by
// default, and if they cannot have them, why.
type sidecars struct {
	native  bool
	missing string
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
	if c.version.setting == config.NativeOn {
		c.version.found.Store(&sidecars{native: true})
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

// errVersion is what is wrong before the version is known.
var errVersion = errors.New("the version of the API server is not known yet")

// Ready tells whether what pods get by default is known.
func (v *apiVersion) Ready() error {
	if v.setting == config.NativeAuto && v.found.Load() == nil {
		return errVersion
	}
	return nil
}

// Native tells whether pods get native sidecars by default, and why a pod that
// asks for one cannot have it; that is empty if it can.
func (v *apiVersion) Native() (byDefault bool, missing string) {
	if found := v.found.Load(); found != nil {
		return found.native, found.missing
	}
	return false, errVersion.Error()
}

// Run asks for the version now and then, until ctx ends: API servers are
// upgraded while this runs.
func (v *apiVersion) Run(ctx context.Context) error {
	for {
		wait := v.interval
		if v.setting != config.NativeOn {
			if err := v.look(ctx); err != nil && ctx.Err() == nil {
				v.log.Warn("cannot ask for the version of the API server, retrying", "error", err)
				if v.found.Load() == nil {
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
	has := parsed.AtLeast(version.MajorMinor(1, nativeMinor))
	found := sidecars{native: has && v.setting == config.NativeAuto}
	if !has {
		found.missing = fmt.Sprintf("the API server is %s, and native sidecars take 1.%d", text, nativeMinor)
	}
	if before := v.found.Swap(&found); before == nil || *before != found {
		v.log.Info("asked for the version of the API server", "version", text, "native_sidecars", found.native)
	}
	return nil
}
