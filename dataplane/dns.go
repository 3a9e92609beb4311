// SPDX-License-Identifier: MPL-2.0

package dataplane

import (
	"context"

	"podplane/config"
	"podplane/dnsproxy"
)

// buildDNS binds the DNS proxy, if it is asked for.
func (d *Dataplane) buildDNS() error {
	if d.config.DNSServer.BindPort == config.DNSDisabled {
		return nil
	}
	c := dnsConfig(d.config)
	c.Conn = d.session.Conn()
	c.Settle = d.session.Settle
	c.Registerer = d.registry
	server, err := dnsproxy.New(c, d.log.Named("dns"))
	if err != nil {
		return coded(ExitListen, err)
	}
	d.dns = server
	d.unbind = append(d.unbind, server.Close)
	return nil
}

// noProxy stands for Envoy where there is none: nothing to drain and nothing to
// end, but a grace period during which DNS goes on answering.
type noProxy struct{}

func (noProxy) Incarnation() int                      { return 1 }
func (noProxy) DrainInbound(context.Context) error    { return nil }
func (noProxy) RefuseInbound(context.Context) error   { return nil }
func (noProxy) InFlight(context.Context) (int, error) { return 0, nil }
func (noProxy) Stop(context.Context) error            { return nil }
func (noProxy) Kill()                                 {}
