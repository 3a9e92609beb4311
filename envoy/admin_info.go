// SPDX-License-Identifier: MPL-2.0

package envoy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// ServerInfo is the part of /server_info that people ask for.
type ServerInfo struct {
	// Version is Envoy's version string: commit, version, state of the tree, build type, TLS library.
	Version string `json:"version"`
	State   State  `json:"state"`
}

// ServerInfo asks /server_info.
func (a *Admin) ServerInfo(ctx context.Context) (ServerInfo, error) {
	var info ServerInfo
	err := a.getJSON(ctx, "/server_info", &info)
	return info, err
}

// Certificate is one certificate that Envoy has loaded.
type Certificate struct {
	Path   string   `json:"path,omitempty"` // of its file, "<inline>" for one from the control plane
	Serial string   `json:"serial"`
	URIs   []string `json:"uris,omitempty"`
	// NotBefore is when it became valid, zero if Envoy does not say.
	NotBefore time.Time `json:"not_before,omitzero"`
	NotAfter  time.Time `json:"not_after"`
	// CA tells a certificate of a trusted authority from one of Envoy's own.
	CA bool `json:"ca"`
}

// Certs lists the certificates, those of authorities and Envoy's own.
func (a *Admin) Certs(ctx context.Context) ([]Certificate, error) {
	type detail struct {
		Path           string    `json:"path"`
		Serial         string    `json:"serial_number"`
		ValidFrom      time.Time `json:"valid_from"`
		ExpirationTime time.Time `json:"expiration_time"`
		AltNames       []struct {
			URI string `json:"uri"`
		} `json:"subject_alt_names"`
	}
	var answer struct {
		Certificates []struct {
			CA    []detail `json:"ca_cert"`
			Chain []detail `json:"cert_chain"`
		} `json:"certificates"`
	}
	if err := a.getJSON(ctx, "/certs", &answer); err != nil {
		return nil, err
	}
	var certs []Certificate
	add := func(details []detail, ca bool) {
		for _, d := range details {
			c := Certificate{Path: d.Path, Serial: d.Serial, NotBefore: d.ValidFrom, NotAfter: d.ExpirationTime, CA: ca}
			for _, name := range d.AltNames {
				if name.URI != "" {
					c.URIs = append(c.URIs, name.URI)
				}
			}
			certs = append(certs, c)
		}
	}
	for _, c := range answer.Certificates {
		add(c.Chain, false)
		add(c.CA, true)
	}
	return certs, nil
}

// Cluster is an upstream cluster and how its endpoints are.
type Cluster struct {
	Name    string `json:"name"`
	Dynamic bool   `json:"dynamic"` // from the control plane
	Hosts   int    `json:"hosts"`
	Healthy int    `json:"healthy"`
}

// Clusters lists the clusters. A host is healthy unless one of Envoy's health checks or outlier detection says
// otherwise, or the control plane gave it a state other than healthy.
func (a *Admin) Clusters(ctx context.Context) ([]Cluster, error) {
	type health struct {
		FailedActive   bool   `json:"failed_active_health_check"`
		FailedOutlier  bool   `json:"failed_outlier_check"`
		FailedDegraded bool   `json:"failed_active_degraded_check"`
		EDS            string `json:"eds_health_status"`
	}
	var answer struct {
		Clusters []struct {
			Name    string `json:"name"`
			Dynamic bool   `json:"added_via_api"`
			Hosts   []struct {
				Health health `json:"health_status"`
			} `json:"host_statuses"`
		} `json:"cluster_statuses"`
	}
	if err := a.getJSON(ctx, "/clusters?format=json", &answer); err != nil {
		return nil, err
	}
	clusters := make([]Cluster, 0, len(answer.Clusters))
	for _, c := range answer.Clusters {
		cluster := Cluster{Name: c.Name, Dynamic: c.Dynamic, Hosts: len(c.Hosts)}
		for _, h := range c.Hosts {
			edsOK := h.Health.EDS == "" || h.Health.EDS == "HEALTHY" || h.Health.EDS == "UNKNOWN"
			if edsOK && !h.Health.FailedActive && !h.Health.FailedOutlier && !h.Health.FailedDegraded {
				cluster.Healthy++
			}
		}
		clusters = append(clusters, cluster)
	}
	return clusters, nil
}

// Listener is a listener and where it listens.
type Listener struct {
	Name    string `json:"name"`
	Address string `json:"address"` // host:port, or the path of a Unix socket
}

// Listeners lists the listeners.
func (a *Admin) Listeners(ctx context.Context) ([]Listener, error) {
	var answer struct {
		Listeners []struct {
			Name  string `json:"name"`
			Local struct {
				Socket struct {
					Address string `json:"address"`
					Port    int    `json:"port_value"`
				} `json:"socket_address"`
				Pipe struct {
					Path string `json:"path"`
				} `json:"pipe"`
			} `json:"local_address"`
		} `json:"listener_statuses"`
	}
	if err := a.getJSON(ctx, "/listeners?format=json", &answer); err != nil {
		return nil, err
	}
	listeners := make([]Listener, 0, len(answer.Listeners))
	for _, l := range answer.Listeners {
		address := l.Local.Pipe.Path
		if address == "" {
			address = net.JoinHostPort(l.Local.Socket.Address, strconv.Itoa(l.Local.Socket.Port))
		}
		listeners = append(listeners, Listener{Name: l.Name, Address: address})
	}
	return listeners, nil
}

func (a *Admin) getJSON(ctx context.Context, path string, into any) error {
	return a.get(ctx, path, func(body io.Reader) error {
		content, err := readAll(body)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(content, into); err != nil {
			return fmt.Errorf("decode answer: %w", err)
		}
		return nil
	})
}
