// SPDX-License-Identifier: MPL-2.0

package dataplane

import (
	"context"
	"fmt"
	"time"

	"podplane/config"
	"podplane/envoy"
)

// healthTimeout bounds CheckProxyHealth.
const healthTimeout = 3 * time.Second

// CheckProxyHealth asks the admin interface of an Envoy that runs whether it is
// LIVE, for probes in images without a shell. The error says what it is instead.
func CheckProxyHealth(ctx context.Context, c config.Envoy) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	admin, err := envoy.NewAdmin(envoy.AdminConfig{Address: hostPort(c.AdminBindAddr, c.AdminBindPort), Timeout: healthTimeout})
	if err != nil {
		return err
	}
	state, err := admin.State(ctx)
	if err != nil {
		return fmt.Errorf("ask envoy for its state: %w", err)
	}
	if state != envoy.Live {
		return fmt.Errorf("envoy is %s", state)
	}
	return nil
}
