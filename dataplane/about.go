// SPDX-License-Identifier: MPL-2.0

package dataplane

import (
	"context"
	"os"
	"runtime"
	"time"

	"podplane/lifecycle"
)

// about is the section of /status on podplane itself.
type about struct {
	Version       string               `json:"version"`
	Revision      string               `json:"revision"`
	Go            string               `json:"go"`
	Mode          string               `json:"mode"`
	ProxyID       string               `json:"proxy_id,omitempty"`
	PID           int                  `json:"pid"`
	Started       time.Time            `json:"started"`
	UptimeSeconds int                  `json:"uptime_seconds"`
	LogLevel      lifecycle.LevelState `json:"log_level_override,omitzero"`
}

// newAbout gives what does not change.
func newAbout(o Options) about {
	return about{
		Version: o.Version, Revision: o.Revision, Go: runtime.Version(),
		Mode: string(o.Config.Mode), ProxyID: o.Config.Proxy.ID, PID: os.Getpid(), Started: time.Now(),
	}
}

func (d *Dataplane) aboutSection(context.Context) (any, error) {
	now := d.about
	now.UptimeSeconds = int(time.Since(now.Started).Seconds())
	now.LogLevel = d.logLevel.State()
	return now, nil
}
