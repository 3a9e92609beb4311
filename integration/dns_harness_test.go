// SPDX-License-Identifier: MPL-2.0

package integration

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"podplane/integration/consultest"
	"podplane/integration/mesh"
	"podplane/integration/ports"
	"podplane/integration/proc"
	"podplane/serverconn"
)

// answerTimeout is longer than the 4.5 seconds within which the proxy answers
// whatever happens.
const answerTimeout = 10 * time.Second

// dnsSpec says how to run a DNS proxy.
type dnsSpec struct {
	binary string   // empty: the one under test
	args   []string // besides those that name the servers, and addresses
	files  int      // the limit of descriptors; 0: that of the tests
}

// dnsProxy is the real program in mode dns-proxy.
type dnsProxy struct {
	process                  *proc.Process
	addr, lifecycle, metrics string
}

// startDNS starts a DNS proxy to a cluster, with a login if it has ACLs, and
// waits until it is ready.
func startDNS(t *testing.T, consul *consultest.Cluster, spec dnsSpec) *dnsProxy {
	t.Helper()
	block, err := ports.Reserve(3)
	must(t, err)
	t.Cleanup(block.Release)
	next := func() (addr, port string) {
		n := block.Next()
		return ports.HostPort("127.0.0.1", n), strconv.Itoa(n)
	}
	p := &dnsProxy{}
	var dnsPort, gracefulPort, mergePort string
	p.addr, dnsPort = next()
	p.lifecycle, gracefulPort = next()
	p.metrics, mergePort = next()
	if spec.binary == "" {
		spec.binary = podplane
	}
	args := []string{
		spec.binary, "-mode", "dns-proxy",
		"-addresses", consul.Discovery(), "-grpc-port", strconv.Itoa(consul.GRPCPort()),
		"-consul-dns-bind-port", dnsPort, "-graceful-port", gracefulPort, "-telemetry-prom-merge-port", mergePort,
	}
	args = append(append(args, access(t, consul)...), spec.args...)
	if spec.files > 0 {
		limit := "ulimit -n " + strconv.Itoa(spec.files) + `; exec "$0" "$@"`
		args = append([]string{"/bin/sh", "-c", limit}, args...)
	}
	p.process, err = proc.Start(proc.Spec{Name: "podplane, dns-proxy", Args: args, Env: []string{"PATH=" + os.Getenv("PATH")}})
	must(t, err)
	t.Cleanup(func() {
		if err := p.process.Stop(10 * time.Second); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(p.process.Tail(8 << 10))
		}
	})
	within(t, patience, "the dns proxy is ready", func(ctx context.Context) bool {
		answer, err := mesh.Get(ctx, "http://"+p.lifecycle+"/ready")
		return err == nil && answer.Status == http.StatusOK
	})
	return p
}

// access are the arguments for the cluster's TLS and ACLs.
func access(t *testing.T, consul *consultest.Cluster) []string {
	t.Helper()
	args := []string{"-tls-disabled"}
	if ca := consul.CAFile(); ca != "" {
		args = []string{"-ca-certs", ca, "-tls-server-name", consultest.ServerName}
	}
	if consul.Token() == "" {
		return args
	}
	bearer, err := consul.Bearer("api", time.Hour)
	must(t, err)
	path := filepath.Join(t.TempDir(), "bearer")
	must(t, os.WriteFile(path, []byte(bearer), 0o600))
	return append(args, "-credential-type", "login", "-login-auth-method", consultest.AuthMethod, "-login-bearer-token-path", path)
}

// session is what the proxy says of its session with the servers.
func (p *dnsProxy) session(ctx context.Context, t *testing.T) serverconn.Status {
	t.Helper()
	var st serverconn.Status
	must(t, mesh.StatusOf(ctx, p.lifecycle, "consul", &st))
	return st
}

// metric gives the sum of the series that begin with a name and labels.
func (p *dnsProxy) metric(ctx context.Context, t *testing.T, series string) float64 {
	t.Helper()
	answer, err := mesh.Get(ctx, "http://"+p.metrics+"/stats/prometheus")
	must(t, err)
	sum := 0.0
	for line := range strings.Lines(answer.Body) {
		if !strings.HasPrefix(line, series) {
			continue
		}
		value, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' ')+1:]), 64)
		must(t, err)
		sum += value
	}
	return sum
}

// query packs a question; size is that of EDNS, 0 for none.
func query(t testing.TB, name string, kind, size uint16) []byte {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, kind)
	if size > 0 {
		m.SetEdns0(size, false)
	}
	packet, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return packet
}

// exchangeDNS sends a packet and gives the answer, over a socket of its own.
func exchangeDNS(ctx context.Context, transport, addr string, packet []byte) ([]byte, error) {
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, transport, addr)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(answerTimeout))
	if transport == "tcp" {
		packet = append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...)
	}
	if _, err := c.Write(packet); err != nil {
		return nil, err
	}
	answer := make([]byte, 1<<16)
	if transport == "udp" {
		n, err := c.Read(answer)
		return answer[:n], err
	}
	if _, err := io.ReadFull(c, answer[:2]); err != nil {
		return nil, err
	}
	answer = answer[:binary.BigEndian.Uint16(answer)]
	_, err = io.ReadFull(c, answer)
	return answer, err
}
