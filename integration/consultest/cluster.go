// SPDX-License-Identifier: MPL-2.0

package consultest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"podplane/integration/ports"
	"podplane/integration/servers"
)

// Datacenter is the datacenter of every cluster.
const Datacenter = "dc1"

// ServerName is a DNS name in every server's gRPC certificate, fit for `-tls-server-name`.
const ServerName = "server." + Datacenter + ".consul"

// maxServers is bounded by the fixed addresses 127.0.0.1 to 127.0.0.3.
const maxServers = 3

// startTimeout bounds Start and Restart. A server is up after 1.5 s on an idle machine.
const startTimeout = 90 * time.Second

// Options describe a cluster. The zero value is one server, in plain text, without ACLs.
type Options struct {
	// Servers is how many servers there are: 1 (also for 0) to 3.
	Servers int
	// TLS serves gRPC over TLS, and only so. The CA is made for this cluster; see [Cluster.CA].
	TLS bool
	// VerifyIncoming demands a client certificate of the cluster's CA over gRPC.
	VerifyIncoming bool
	// ACL turns on ACLs with default policy deny. See [Cluster.Token].
	ACL bool
	// JWT adds an auth method that accepts tokens minted by [Cluster.Bearer]. It implies ACL.
	JWT bool
	// TokenTTL is the life of tokens that the auth method gives out; 0 means that they do not expire.
	// Consul's shortest is one minute.
	TokenTTL time.Duration
	// LogLevel is Consul's log level; empty means info.
	LogLevel string
	// Config is merged over each server's configuration, key by key of the top level's objects:
	// {"performance": {"enable_xds_load_balancing": false}}.
	Config map[string]any
}

// Cluster is a running set of Consul servers. Its methods may be called from several goroutines, but
// those that start, stop or signal a server must not run at the same time for the same server.
type Cluster struct {
	opts    Options
	dir     string
	ports   portSet
	block   *ports.Block
	servers []*server
	token   string
	ca      *CA
	jwt     *issuer
}

// Start starts a cluster and returns when it is ready for use. ctx bounds only the start. The caller must
// call [Cluster.Close]. On an error nothing is left running, and the error carries the end of the logs.
func Start(ctx context.Context, opts Options) (*Cluster, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	binary, err := servers.Consul().Find()
	if err != nil {
		return nil, err
	}
	c := &Cluster{opts: opts}
	if err := c.prepare(binary); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare consul cluster: %w", err), c.Close())
	}
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start consul cluster: %w\n%s", err, c.LogTail()), c.Close())
	}
	return c, nil
}

func (o Options) withDefaults() (Options, error) {
	if o.Servers == 0 {
		o.Servers = 1
	}
	if o.Servers < 0 || o.Servers > maxServers {
		return o, fmt.Errorf("consul cluster of %d servers: want 1 to %d", o.Servers, maxServers)
	}
	if o.LogLevel == "" {
		o.LogLevel = "info"
	}
	o.ACL = o.ACL || o.JWT
	return o, nil
}

// prepare makes everything that is needed before the first process starts.
func (c *Cluster) prepare(binary string) (err error) {
	if c.dir, err = os.MkdirTemp("", "consultest-"); err != nil {
		return err
	}
	if c.block, err = ports.Reserve(portsPerServer, loopbacks(c.opts.Servers)...); err != nil {
		return err
	}
	c.ports = assignPorts(c.block)
	if c.opts.TLS {
		if c.ca, err = NewCA("consultest"); err != nil {
			return err
		}
		if err := c.writeAuthorities(c.ca); err != nil {
			return err
		}
	}
	if c.opts.ACL {
		c.token = newUUID()
	}
	if c.opts.JWT {
		if c.jwt, err = newIssuer(); err != nil {
			return err
		}
	}
	for i := range c.opts.Servers {
		s, err := c.newServer(i, binary)
		if err != nil {
			return err
		}
		c.servers = append(c.servers, s)
	}
	return nil
}

func (c *Cluster) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, s := range c.servers {
		if err := s.start(); err != nil {
			return err
		}
	}
	for i := range c.servers {
		if err := c.awaitReady(ctx, i); err != nil {
			return err
		}
	}
	if c.opts.JWT {
		return c.Client().CreateJWTAuthMethod(ctx, c.authMethod())
	}
	return nil
}

// Close ends every server and removes all files. It may be called more than once.
func (c *Cluster) Close() error {
	for i := range c.servers {
		c.Kill(i)
	}
	if c.block != nil {
		c.block.Release()
	}
	if c.dir == "" {
		return nil
	}
	return os.RemoveAll(c.dir)
}

// Servers returns how many servers the cluster has, running or not.
func (c *Cluster) Servers() int { return len(c.servers) }

// Addresses returns the servers' IP addresses, by index.
func (c *Cluster) Addresses() []string { return loopbacks(len(c.servers)) }

// Discovery returns the servers as a value for `-addresses`: the address of a single server, else an
// `exec=` command that prints all of them.
func (c *Cluster) Discovery() string {
	addresses := c.Addresses()
	if len(addresses) == 1 {
		return addresses[0]
	}
	return "exec=echo " + strings.Join(addresses, " ")
}

// GRPCPort returns the gRPC port, the same on every server: TLS or plain text, as the options say.
func (c *Cluster) GRPCPort() int { return c.ports.grpc }

// GRPCAddr returns server i's gRPC address as host:port.
func (c *Cluster) GRPCAddr(i int) string { return ports.HostPort(loopback(i), c.ports.grpc) }

// HTTPAddr returns the address of server i's HTTP API as host:port. It is always plain text.
func (c *Cluster) HTTPAddr(i int) string { return ports.HostPort(loopback(i), c.ports.http) }

// DNSAddr returns server i's own DNS address as host:port, UDP and TCP.
func (c *Cluster) DNSAddr(i int) string { return ports.HostPort(loopback(i), c.ports.dns) }

// PID returns the process of server i, which another one follows after a restart.
func (c *Cluster) PID(i int) int { return c.servers[i].current().PID() }

// Token returns the secret of a token that may do everything; empty without ACLs.
func (c *Cluster) Token() string { return c.token }

// CA returns the authority that signed the gRPC certificates; nil without TLS.
func (c *Cluster) CA() *CA { return c.ca }

// CAFile returns the path of a PEM file with the gRPC CA, fit for `-ca-certs`; empty without TLS.
func (c *Cluster) CAFile() string {
	if c.ca == nil {
		return ""
	}
	return filepath.Join(c.dir, caFileName)
}

// Reissue gives every server a gRPC certificate of ca and has it taken into use, while the servers run
// and connections stay. Client certificates, and holders of [Cluster.CAFile], trust ca and the others.
func (c *Cluster) Reissue(ctx context.Context, ca *CA, others ...*CA) error {
	c.ca = ca
	if err := c.writeAuthorities(append(others, ca)...); err != nil {
		return fmt.Errorf("reissue certificates: %w", err)
	}
	for i, s := range c.servers {
		if err := c.writeCertificate(i, filepath.Dir(s.spec.LogFile)); err != nil {
			return fmt.Errorf("reissue certificates: %w", err)
		}
		if err := c.ClientAt(i, c.token).Put(ctx, "/v1/agent/reload", nil); err != nil {
			return fmt.Errorf("reissue certificates: %w", err)
		}
	}
	return nil
}

// Client returns an API client with [Cluster.Token] for the first server that runs, else for server 0.
func (c *Cluster) Client() *Client {
	for i, s := range c.servers {
		if s.running() {
			return c.ClientAt(i, c.token)
		}
	}
	return c.ClientAt(0, c.token)
}

// ClientAt returns an API client for server i with a token of the caller's choice.
func (c *Cluster) ClientAt(i int, token string) *Client {
	return NewClient("http://"+c.HTTPAddr(i), token)
}

// Stop ends server i with SIGTERM, as an orderly shutdown does, and waits for its end; one that does not
// end in time is killed, which is an error. A server that does not run is left alone.
func (c *Cluster) Stop(i int) error { return c.servers[i].current().Stop(stopTimeout) }

// Kill ends server i with SIGKILL and waits for its end.
func (c *Cluster) Kill(i int) { c.servers[i].kill() }

// Pause freezes server i with SIGSTOP: its connections stay open and nobody answers.
func (c *Cluster) Pause(i int) error { return c.servers[i].current().Pause() }

// Resume lets a paused server go on.
func (c *Cluster) Resume(i int) error { return c.servers[i].current().Resume() }

// Restart starts server i again with its data, after ending it if it runs, and waits until it is ready,
// which needs a quorum: after the loss of all servers use [Cluster.Launch] for the first ones.
func (c *Cluster) Restart(ctx context.Context, i int) error {
	if err := c.Launch(i); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := c.awaitReady(ctx, i); err != nil {
		return fmt.Errorf("restart consul server %d: %w", i, err)
	}
	return nil
}

// Launch is [Cluster.Restart] without the wait.
func (c *Cluster) Launch(i int) error {
	c.Kill(i)
	return c.servers[i].start()
}

// LogTail returns the last lines of every server's log, since its last start.
func (c *Cluster) LogTail() string {
	var b strings.Builder
	for _, s := range c.servers {
		fmt.Fprintf(&b, "--- %s\n%s", s.spec.Name, s.logTail())
	}
	return b.String()
}

// LogFile returns the path of server i's log, over all its starts. The file ends with the cluster.
func (c *Cluster) LogFile(i int) string { return c.servers[i].spec.LogFile }

func loopback(i int) string { return "127.0.0." + strconv.Itoa(i+1) }

func loopbacks(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = loopback(i)
	}
	return out
}
