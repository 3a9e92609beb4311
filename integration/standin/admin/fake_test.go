// SPDX-License-Identifier: MPL-2.0

package admin_test

import (
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"podplane/integration/standin/traffic"
)

// fake is the process, the data path and the loggers in one.
type fake struct {
	mu    sync.Mutex
	state adminv3.ServerInfo_State
	calls []string
	dump  *adminv3.ConfigDump
}

func (f *fake) note(call string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, call)
}

func (f *fake) noted() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.calls, " ")
}

func (f *fake) Info() *adminv3.ServerInfo {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &adminv3.ServerInfo{State: f.state, Version: "v", HotRestartVersion: "disabled"}
}

func (f *fake) Dump(endpoints bool) (*adminv3.ConfigDump, error) {
	if endpoints {
		f.note("dump+eds")
	} else {
		f.note("dump")
	}
	return f.dump, nil
}

func (f *fake) FailHealthcheck(fail bool) {
	if fail {
		f.note("fail")
		return
	}
	f.note("ok")
}
func (f *fake) Quit() { f.note("quit") }

func (f *fake) DrainClients(inbound bool) {
	call := "leave"
	if inbound {
		call += "+inbound"
	}
	f.note(call)
}

func (f *fake) DrainListeners(inbound, graceful bool) {
	call := "drain"
	if inbound {
		call += "+inbound"
	}
	if graceful {
		call += "+graceful"
	}
	f.note(call)
}

func (f *fake) Clusters() []traffic.ClusterStatus {
	return []traffic.ClusterStatus{
		{
			Name: "api", StatName: "api", MaxConnections: 1024, EDSServiceName: "api-eds",
			Endpoints: []traffic.EndpointStatus{
				{Address: "10.0.0.2:20000", Weight: 1, RqTotal: 7, Health: corev3.HealthStatus_UNHEALTHY},
				{Address: "10.0.0.3:20000", Weight: 1, Ejected: true, Health: corev3.HealthStatus_DEGRADED},
				{Address: "/run/app.sock", Weight: 1},
			},
		},
		{Name: "late", Warming: true},
	}
}

func (f *fake) Listeners() []traffic.ListenerStatus {
	return []traffic.ListenerStatus{{Name: "public", LocalAddress: "[::1]:20000"}, {Name: "late", Warming: true}}
}

func (f *fake) Certs() []traffic.CertStatus {
	id := &url.URL{Scheme: "spiffe", Host: "td", Path: "/svc/web"}
	day := time.Now()
	return []traffic.CertStatus{{
		Source: "<inline>",
		CA:     []*x509.Certificate{{SerialNumber: big.NewInt(7), NotBefore: day, NotAfter: day.Add(-time.Hour)}},
		Chain: []*x509.Certificate{{
			SerialNumber: big.NewInt(255), NotBefore: day, NotAfter: day.Add(49 * time.Hour),
			URIs: []*url.URL{id}, DNSNames: []string{"web"}, IPAddresses: []net.IP{net.IPv4(10, 0, 0, 1)},
		}},
	}}
}

func (f *fake) Levels() map[string]string { return map[string]string{"main": "info", "admin": "debug"} }

func (f *fake) SetAll(level string) error {
	f.note("all=" + level)
	return nil
}

func (f *fake) Set(levels map[string]string) error {
	if _, ok := levels["nobody"]; ok {
		return io.ErrUnexpectedEOF
	}
	f.note("set=" + levels["main"])
	return nil
}
