// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"podplane/integration/bench/consulend"
	"podplane/integration/bench/control"
	"podplane/integration/bench/copyend"
	"podplane/integration/bench/envoyend"
	"podplane/integration/bench/scrapeend"
	"podplane/integration/ports"
	"podplane/integration/proc"
)

// step bounds each single thing that is waited for.
const step = 30 * time.Second

// raceExit keeps a program with the race detector, such as this one in its own
// tests, from waiting for a second at its end.
const raceExit = "GORACE=atexit_sleep_ms=20"

// siteOptions say what is around a dataplane.
type siteOptions struct {
	servers     int            // Consul servers, 1 if 0
	proxyConfig map[string]any // the proxy's opaque configuration in Consul
	application bool           // whether there is one whose metrics are scraped
	args        []string       // further arguments of the dataplane
}

// site is one dataplane with all that it needs. Nothing of it is used twice, so
// that no measurement depends on the one before it.
type site struct {
	dir       string
	listener  *control.Listener
	block     *ports.Block
	servers   []*consulServer
	others    []*proc.Process
	dataplane *proc.Process
	began     int64 // when the dataplane was started

	admin, lifecycle, merged string // host:port
	application              string // URL of its metrics, if there is one
}

// consulServer is one of the servers.
type consulServer struct {
	addr    string
	process *proc.Process
	peer    *control.Peer
}

// portsOfSite is: gRPC, admin, lifecycle, merged metrics, Envoy's own listener.
const portsOfSite = 5

// openSite starts the servers, and not the dataplane yet.
func openSite(ctx context.Context, b binary, o siteOptions) (_ *site, err error) {
	s := &site{}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.dir, err = os.MkdirTemp("", "podplane-bench-"); err != nil {
		return nil, err
	}
	if s.listener, err = control.Listen(envoyend.ControlPath(s.dir)); err != nil {
		return nil, err
	}
	addresses := []string{"127.0.0.1"}
	for i := 1; i < o.servers; i++ {
		addresses = append(addresses, fmt.Sprintf("127.0.0.%d", i+1))
	}
	if s.block, err = ports.Reserve(portsOfSite, addresses...); err != nil {
		return nil, err
	}
	grpcPort := s.block.Next()
	s.admin, s.lifecycle, s.merged = s.nextAddr(), s.nextAddr(), s.nextAddr()
	if o.proxyConfig == nil {
		o.proxyConfig = map[string]any{}
	}
	for _, address := range addresses {
		server, err := s.startServer(ctx, net.JoinHostPort(address, strconv.Itoa(grpcPort)), addresses, o.proxyConfig)
		if err != nil {
			return nil, err
		}
		s.servers = append(s.servers, server)
	}
	if o.application {
		if s.application, err = s.startApplication(ctx, scrapeend.ApplicationSeries); err != nil {
			return nil, err
		}
		o.args = append(o.args, "-telemetry-prom-service-metrics-url", s.application)
	}
	return s, s.startDataplane(b, addresses, grpcPort, o.args)
}

func (s *site) nextAddr() string { return ports.HostPort("127.0.0.1", s.block.Next()) }

func (s *site) startServer(ctx context.Context, addr string, all []string, proxyConfig map[string]any) (*consulServer, error) {
	config, err := json.Marshal(proxyConfig)
	if err != nil {
		return nil, err
	}
	server := &consulServer{addr: addr}
	server.process, server.peer, err = s.play(ctx, consulend.Role,
		"-listen", addr, "-servers", strings.Join(all, ","), "-proxy-config", string(config))
	return server, err
}

// play starts this program in a role and waits until it is ready.
func (s *site) play(ctx context.Context, role string, args ...string) (*proc.Process, *control.Peer, error) {
	ctx, cancel := context.WithTimeout(ctx, step)
	defer cancel()
	path, err := s.link(role)
	if err != nil {
		return nil, nil, err
	}
	p, err := proc.Start(proc.Spec{
		Name: role, Args: append([]string{path, "-control", envoyend.ControlPath(s.dir)}, args...), Env: environment(role),
	})
	if err != nil {
		return nil, nil, err
	}
	s.others = append(s.others, p)
	ctx, stop := whileRunning(ctx, p)
	defer stop()
	peer, err := s.listener.Next(ctx, role)
	return p, peer, err
}

func environment(role string) []string {
	if role == copyend.Role {
		return []string{raceExit, "GOMAXPROCS=1"}
	}
	return []string{raceExit}
}

// link gives this program another name, by which it knows its role.
func (s *site) link(role string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	path := filepath.Join(s.dir, role)
	if err := os.Symlink(self, path); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	return path, nil
}

// startDataplane passes only what every consul-dataplane takes.
func (s *site) startDataplane(b binary, servers []string, grpcPort int, more []string) error {
	envoy, err := s.link(envoyend.Role)
	if err != nil {
		return err
	}
	discovery := servers[0]
	if len(servers) > 1 {
		discovery = "exec=echo " + strings.Join(servers, " ")
	}
	args := append([]string{
		b.Path,
		"-addresses", discovery,
		"-grpc-port", strconv.Itoa(grpcPort),
		"-tls-disabled",
		"-proxy-id", "web-sidecar-proxy",
		"-proxy-node-name", "node-1",
		"-envoy-executable-path", envoy,
		"-envoy-admin-bind-port", port(s.admin),
		"-graceful-port", port(s.lifecycle),
		"-telemetry-prom-merge-port", port(s.merged),
	}, more...)
	s.began = control.Now()
	s.dataplane, err = proc.Start(proc.Spec{
		Name: b.Name, Args: args,
		Env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "TMPDIR=" + s.dir, raceExit},
	})
	return err
}

func port(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

// live waits for the next Envoy that the dataplane starts, until it is LIVE, and
// gives when that was.
func (s *site) live(ctx context.Context) (*control.Peer, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, step)
	defer cancel()
	ctx, stop := whileRunning(ctx, s.dataplane)
	defer stop()
	envoy, err := s.listener.Next(ctx, envoyend.Role)
	if err != nil {
		return nil, 0, err
	}
	at, err := envoy.Await(ctx, envoyend.EventLive)
	return envoy, at, err
}

// startApplication gives the URL of an application's metrics.
func (s *site) startApplication(ctx context.Context, series int) (string, error) {
	_, peer, err := s.play(ctx, scrapeend.RoleApplication, "-series", strconv.Itoa(series))
	if err != nil {
		return "", err
	}
	return "http://" + peer.Hello().Addr + "/metrics", nil
}

// startCopy gives the URL of a raw copy of others.
func (s *site) startCopy(ctx context.Context, urls ...string) (string, error) {
	_, peer, err := s.play(ctx, scrapeend.RoleCopy, "-urls", strings.Join(urls, ","))
	if err != nil {
		return "", err
	}
	return "http://" + peer.Hello().Addr + "/", nil
}

// startCopier gives the address of a copier of connections to the first server. It
// has one processor, as podplane has.
func (s *site) startCopier(ctx context.Context) (string, error) {
	_, peer, err := s.play(ctx, copyend.Role, "-target", s.servers[0].addr)
	if err != nil {
		return "", err
	}
	return peer.Hello().Addr, nil
}

// close ends everything, the dataplane first: it is not to see the others' end. When it returns nothing is left that
// could disturb the next round.
func (s *site) close() {
	if s.dataplane != nil {
		s.dataplane.Kill()
	}
	if s.listener != nil {
		_ = s.listener.Close() // ends an Envoy that nobody else does
		for _, peer := range s.listener.Peers() {
			if peer.Hello().Role == envoyend.Role {
				awaitEnd(peer.Hello().PID, endGrace)
			}
		}
	}
	for _, p := range s.others {
		p.Kill()
	}
	if s.block != nil {
		s.block.Release()
	}
	_ = os.RemoveAll(s.dir) // in the temporary folder
}

// whileRunning gives a context that ends with the process, too. stop must be
// called.
func whileRunning(ctx context.Context, p *proc.Process) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-p.Done():
			cancel(endedError(p))
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-watched
	}
}

// endedError says how a process ended, with its last words.
func endedError(p *proc.Process) error {
	lines := strings.Split(strings.TrimSpace(p.Tail(2<<10)), "\n")
	return fmt.Errorf("it ended with exit code %d: %s", p.ExitCode(), strings.TrimSpace(lines[len(lines)-1]))
}
