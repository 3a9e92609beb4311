// SPDX-License-Identifier: MPL-2.0

package consultest

import (
	"context"
	"net/url"
)

// Intention actions.
const (
	Allow = "allow"
	Deny  = "deny"
)

// SetIntention lets source reach destination, or not. "*" stands for every service.
func (c *Client) SetIntention(ctx context.Context, source, destination, action string) error {
	return c.Put(ctx, intentionPath(source, destination), map[string]string{"Action": action})
}

// DeleteIntention removes what [Client.SetIntention] set.
func (c *Client) DeleteIntention(ctx context.Context, source, destination string) error {
	return c.Delete(ctx, intentionPath(source, destination))
}

func intentionPath(source, destination string) string {
	query := url.Values{"source": {source}, "destination": {destination}}
	return "/v1/connect/intentions/exact?" + query.Encode()
}

// SetConfigEntry writes a config entry, given in Consul's own JSON form with Kind and Name:
// https://developer.hashicorp.com/consul/docs/reference/config-entry.
func (c *Client) SetConfigEntry(ctx context.Context, entry map[string]any) error {
	return c.Put(ctx, "/v1/config", entry)
}

// DeleteConfigEntry deletes a config entry. One that does not exist is no error.
func (c *Client) DeleteConfigEntry(ctx context.Context, kind, name string) error {
	return c.Delete(ctx, "/v1/config/"+url.PathEscape(kind)+"/"+url.PathEscape(name))
}

// SetProtocol sets a service's protocol: tcp, http, http2 or grpc.
func (c *Client) SetProtocol(ctx context.Context, service, protocol string) error {
	return c.SetConfigEntry(ctx, map[string]any{"Kind": "service-defaults", "Name": service, "Protocol": protocol})
}

// SetProxyDefaults replaces the global proxy-defaults' config, such as {"protocol": "http"}.
func (c *Client) SetProxyDefaults(ctx context.Context, config map[string]any) error {
	return c.SetConfigEntry(ctx, map[string]any{"Kind": "proxy-defaults", "Name": "global", "Config": config})
}
