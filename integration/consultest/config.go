// SPDX-License-Identifier: MPL-2.0

package consultest

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"podplane/integration/ports"
	"podplane/integration/proc"
)

const caFileName = "grpc-ca.pem"

// serverConfig returns server i's agent configuration. Keys are those of
// https://developer.hashicorp.com/consul/docs/reference/agent/configuration-file.
func (c *Cluster) serverConfig(i int, dir string) map[string]any {
	config := map[string]any{
		"node_name":            serverName(i),
		"datacenter":           Datacenter,
		"server":               true,
		"bootstrap_expect":     c.opts.Servers,
		"data_dir":             filepath.Join(dir, "data"),
		"bind_addr":            loopback(i),
		"client_addr":          loopback(i),
		"retry_join":           c.joinAddresses(),
		"retry_interval":       "1s",
		"log_level":            c.opts.LogLevel,
		"disable_update_check": true,
		"connect":              map[string]any{"enabled": true},
		"performance":          map[string]any{"raft_multiplier": 1},
		"ports":                c.portConfig(),
	}
	if c.opts.TLS {
		config["tls"] = map[string]any{"grpc": map[string]any{
			"ca_file":   filepath.Join(c.dir, caFileName),
			"cert_file": filepath.Join(dir, "cert.pem"),
			"key_file":  filepath.Join(dir, "key.pem"),

			"verify_incoming": c.opts.VerifyIncoming,
		}}
	}
	if c.opts.ACL {
		config["acl"] = map[string]any{
			"enabled":        true,
			"default_policy": "deny",
			"tokens":         map[string]any{"initial_management": c.token, "agent": c.token},
		}
	}
	merge(config, c.opts.Config)
	return config
}

// portsPerServer is how many ports each server binds.
const portsPerServer = 6

// portSet is the same on all servers of a cluster.
type portSet struct{ http, grpc, dns, rpc, serf, serfWAN int }

func assignPorts(b *ports.Block) portSet {
	return portSet{
		http: b.Next(), grpc: b.Next(), dns: b.Next(), rpc: b.Next(), serf: b.Next(), serfWAN: b.Next(),
	}
}

func (c *Cluster) portConfig() map[string]any {
	plain, tls := c.ports.grpc, -1
	if c.opts.TLS {
		plain, tls = tls, plain
	}
	return map[string]any{
		"http": c.ports.http, "https": -1, "grpc": plain, "grpc_tls": tls, "dns": c.ports.dns,
		"server": c.ports.rpc, "serf_lan": c.ports.serf, "serf_wan": c.ports.serfWAN,
	}
}

func (c *Cluster) joinAddresses() []string {
	out := loopbacks(c.opts.Servers)
	for i, address := range out {
		out[i] = ports.HostPort(address, c.ports.serf)
	}
	return out
}

// merge lays over upon base; an object in both is merged one level down.
func merge(base, over map[string]any) {
	for key, value := range over {
		was, isMap := base[key].(map[string]any)
		if fresh, ok := value.(map[string]any); ok && isMap {
			maps.Copy(was, fresh)
			continue
		}
		base[key] = value
	}
}

// newServer writes everything that server i reads and returns it, not yet started.
func (c *Cluster) newServer(i int, binary string) (*server, error) {
	dir := filepath.Join(c.dir, serverName(i))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	if c.opts.TLS {
		if err := c.writeCertificate(i, dir); err != nil {
			return nil, err
		}
	}
	config, err := json.MarshalIndent(c.serverConfig(i, dir), "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode server configuration: %w", err)
	}
	configPath := filepath.Join(dir, "config.json")
	if err := os.WriteFile(configPath, config, 0o600); err != nil {
		return nil, err
	}
	return &server{spec: proc.Spec{
		Name: "consul " + serverName(i),
		Args: []string{binary, "agent", "-config-file", configPath},
		// Not the caller's environment: CONSUL_* variables would change what is tested.
		Env:     []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir()},
		LogFile: filepath.Join(dir, "consul.log"),
	}}, nil
}

// writeAuthorities replaces the file of the gRPC CAs.
func (c *Cluster) writeAuthorities(all ...*CA) error {
	var bundle []byte
	for _, ca := range all {
		bundle = append(bundle, ca.PEM()...)
	}
	return os.WriteFile(filepath.Join(c.dir, caFileName), bundle, 0o600)
}

func (c *Cluster) writeCertificate(i int, dir string) error {
	leaf, err := c.ca.Issue(ServerName, "localhost", loopback(i))
	if err != nil {
		return err
	}
	for path, data := range map[string][]byte{
		filepath.Join(dir, "cert.pem"): leaf.Cert,
		filepath.Join(dir, "key.pem"):  leaf.Key,
	} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func serverName(i int) string { return fmt.Sprintf("server-%d", i) }
