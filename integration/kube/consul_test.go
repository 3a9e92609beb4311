// SPDX-License-Identifier: MPL-2.0

package kube

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"golang.org/x/sys/unix"

	"podplane/integration/consultest"
	"podplane/integration/kubetest"
)

// Ports of the Consul server on the network of the pods; it speaks TLS there.
const (
	consulHTTPS = 8501
	consulGRPC  = 8503
)

// The Consul of all tests.
var (
	consul   *consultest.Cluster
	consulCA *consultest.CA
)

// nameAPIServer gives the API server the name by which Consul is told to ask it, where there is no DNS: in /etc/hosts as
// this program's mount namespace has it.
func nameAPIServer(dir string) error {
	hosts, err := os.ReadFile("/etc/hosts")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "hosts")
	hosts = fmt.Appendf(hosts, "\n%s kubernetes.default.svc\n", kubetest.ServiceIP)
	if err := os.WriteFile(path, hosts, 0o644); err != nil {
		return err
	}
	return unix.Mount(path, "/etc/hosts", "", unix.MS_BIND, "")
}

// startConsul starts a Consul server with ACLs, which pods reach over TLS.
func startConsul(ctx context.Context, dir string) (err error) {
	if err := nameAPIServer(dir); err != nil {
		return err
	}
	if consulCA, err = consultest.NewCA("consul of the tests in Kubernetes"); err != nil {
		return err
	}
	address := network.Addr().String()
	leaf, err := consulCA.Issue(consultest.ServerName, "localhost", address)
	if err != nil {
		return err
	}
	files := map[string][]byte{"consul-ca.pem": consulCA.PEM(), "consul.pem": leaf.Cert, "consul.key": leaf.Key}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return err
		}
	}
	consul, err = consultest.Start(ctx, consultest.Options{ACL: true, Config: map[string]any{
		"bind_addr": address, "client_addr": "127.0.0.1 " + address, "retry_join": []string{},
		"ports": map[string]any{"https": consulHTTPS, "grpc_tls": consulGRPC},
		"tls": map[string]any{"defaults": map[string]any{
			"ca_file": filepath.Join(dir, "consul-ca.pem"), "cert_file": filepath.Join(dir, "consul.pem"),
			"key_file": filepath.Join(dir, "consul.key"),
		}},
		"telemetry": map[string]any{"prometheus_retention_time": "1h", "disable_hostname": true},
		// Replicas of tests log in often, all from one address.
		"limits": map[string]any{"http_max_conns_per_client": 2000},
	}})
	if err != nil {
		return err
	}
	fmt.Println("consul serves at", address)
	return nil
}

// instance is a service's, as the health endpoint shows it.
type instance struct {
	Node struct {
		Node, Address string
		Meta          map[string]string
	}
	Service struct {
		ID, Service, Address, Kind string
		Port                       int
		Meta                       map[string]string
		Tags                       []string
	}
	Checks []struct{ CheckID, Status, Output string }
}

// passing tells whether all of the instance's checks pass.
func (i instance) passing() bool {
	for _, c := range i.Checks {
		if c.Status != consultest.Passing {
			return false
		}
	}
	return len(i.Checks) > 0
}

// instances lists the instances of a service, whatever their health; nil also if Consul cannot be asked.
func instances(ctx context.Context, service string) []instance {
	var out []instance
	if consul.Client().Get(ctx, "/v1/health/service/"+url.PathEscape(service), &out) != nil {
		return nil
	}
	return out
}

// catalogNodes lists the catalog's nodes but for the server itself.
func catalogNodes(ctx context.Context) ([]string, error) {
	var nodes []struct {
		Node string
		Meta map[string]string
	}
	err := consul.Client().Get(ctx, "/v1/catalog/nodes", &nodes)
	var out []string
	for _, n := range nodes {
		if n.Meta["synthetic-node"] == "true" {
			out = append(out, n.Node)
		}
	}
	return out, err
}

// aclToken is an ACL token, as a list shows it.
type aclToken struct {
	AccessorID, Description, AuthMethod string
	ServiceIdentities                   []serviceIdentity
}

type serviceIdentity struct{ ServiceName string }

// tokens lists the tokens that logins gave out.
func tokens(ctx context.Context) ([]aclToken, error) {
	var out []aclToken
	err := consul.Client().Get(ctx, "/v1/acl/tokens?authmethod=podplane", &out)
	return out, err
}

// writes counts the calls of Consul's HTTP API that write to the catalog, by call, as Consul counts them.
func writes(ctx context.Context, t *testing.T) map[string]float64 {
	t.Helper()
	body, err := consulMetrics(ctx)
	must(t, err)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	must(t, err)
	family := families["consul_api_http"]
	if family == nil {
		t.Fatal("consul does not count calls")
	}
	out := map[string]float64{}
	for _, metric := range family.Metric {
		labels := map[string]string{}
		for _, label := range metric.Label {
			labels[label.GetName()] = label.GetValue()
		}
		if labels["method"] != http.MethodGet {
			out[labels["method"]+" "+labels["path"]] = float64(metric.GetSummary().GetSampleCount())
		}
	}
	return out
}

func consulMetrics(ctx context.Context) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+consul.HTTPAddr(0)+"/v1/agent/metrics?format=prometheus", http.NoBody)
	if err != nil {
		return "", err
	}
	req.Header.Set("X-Consul-Token", consul.Token())
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}
