// SPDX-License-Identifier: MPL-2.0

package dataplane

import (
	"context"

	"podplane/envoy"
	"podplane/lifecycle"
)

// envoyStatus is the Envoy section of /status.
type envoyStatus struct {
	envoy.Status
	Version      string              `json:"version,omitempty"`
	Server       envoy.State         `json:"server_state,omitempty"`
	Listeners    []envoy.Listener    `json:"listeners,omitempty"`
	Clusters     []envoy.Cluster     `json:"clusters,omitempty"`
	Certificates []envoy.Certificate `json:"certificates,omitempty"`
	AdminError   string              `json:"admin_error,omitempty"`
}

// sections are the parts of /status that the lifecycle server does not know by
// itself.
func (d *Dataplane) sections() []lifecycle.Section {
	sections := []lifecycle.Section{
		{Name: "podplane", Get: d.aboutSection},
		{Name: "consul", Get: func(context.Context) (any, error) { return d.session.Status(), nil }},
		{Name: "metrics", Get: d.metricsSection},
	}
	if d.definition != nil {
		// Not d.registrar, which is made after the server that shows this.
		sections = append(sections, lifecycle.Section{
			Name: "registration", Get: func(context.Context) (any, error) { return d.registrar.Status(), nil },
		})
	}
	if d.supervisor == nil {
		return sections
	}
	return append(sections,
		lifecycle.Section{Name: "xds", Get: func(context.Context) (any, error) { return d.xds.Status(), nil }},
		lifecycle.Section{Name: "envoy", Get: d.envoySection},
	)
}

func (d *Dataplane) envoySection(ctx context.Context) (any, error) {
	st := envoyStatus{Status: d.supervisor.Status()}
	if st.PID == 0 {
		return st, nil
	}
	info, err := d.admin.ServerInfo(ctx)
	if err != nil {
		st.AdminError = err.Error()
		return st, nil
	}
	st.Version, st.Server = info.Version, info.State
	// Each of the rest is worth showing without the others.
	st.Listeners, _ = d.admin.Listeners(ctx)
	st.Clusters, _ = d.admin.Clusters(ctx)
	st.Certificates, _ = d.admin.Certs(ctx)
	return st, nil
}
