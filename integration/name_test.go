// SPDX-License-Identifier: MPL-2.0

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"podplane/integration/mesh"
	"podplane/integration/servers"
)

const serversName = "servers.podplane.test."

// TestServerNameIsResolvedAgain has the name in -addresses lead to one server. That
// one dies, and a moment later the name leads to another one, of which no server
// has told.
func TestServerNameIsResolvedAgain(t *testing.T) {
	t.Parallel()
	const limit = 5 * time.Second // an attempt each 1.5 s, each with a question
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	names := newNameServer(t)
	m := newMesh(t, three)
	consul := m.Consul
	resolving, err := mesh.NewWith(m.Envoy, consul, buildResolving(ctx, t, names.addr))
	must(t, err)
	t.Cleanup(func() { must(t, resolving.Close()) })
	names.set(consul.Addresses()[0])
	pod, err := resolving.Start(ctx, mesh.PodSpec{
		Name: "web", Upstreams: []string{canary}, Args: []string{"-addresses", serversName, "-server-watch-disabled"},
	})
	must(t, err, pod.WaitReady(ctx))
	if n := serverOf(ctx, t, consul, pod); n != 0 {
		t.Fatalf("the pod uses server %d, to which no name leads", n)
	}
	for _, move := range [][2]int{{0, 1}, {1, 2}} {
		from, to := move[0], move[1]
		epoch, asked := session(ctx, t, pod).Epoch, names.count()
		consul.Kill(from)
		within(t, patience, "the name is asked for in vain", func(context.Context) bool { return names.count() > asked+1 })
		names.set(consul.Addresses()[to])
		start := time.Now()
		within(t, patience, "a stream to another server", hasMoved(pod, epoch))
		took := time.Since(start)
		t.Logf("a stream to server %d after %s and %d questions", to, took.Round(time.Millisecond), names.count()-asked)
		if late(t, took, limit) {
			t.Errorf("a stream after %s, later than %s", took, limit)
		}
		if n := serverOf(ctx, t, consul, pod); n != to {
			t.Errorf("the pod uses server %d, and the name leads to %d", n, to)
		}
		expectChange(ctx, t, consul.Client, patience, pod)
		must(t, consul.Restart(ctx, from))
	}
	expectStreamKept(ctx, t, pod)
}

// nameServer is a DNS server that knows one name, whose address a test changes.
type nameServer struct {
	addr string

	mu      sync.Mutex
	address net.IP
	asked   int // for the address
}

func newNameServer(t *testing.T) *nameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	n := &nameServer{addr: conn.LocalAddr().String()}
	server := &dns.Server{PacketConn: conn, Handler: n}
	ended := make(chan error, 1)
	go func() { ended <- server.ActivateAndServe() }()
	t.Cleanup(func() {
		_ = conn.Close()
		<-ended
	})
	return n
}

// ServeDNS gives the address of the moment, which nobody may keep.
func (n *nameServer) ServeDNS(w dns.ResponseWriter, query *dns.Msg) {
	n.mu.Lock()
	defer n.mu.Unlock()
	answer := new(dns.Msg).SetReply(query)
	question := query.Question[0]
	switch {
	case question.Name != serversName:
		answer.Rcode = dns.RcodeNameError
	case question.Qtype == dns.TypeA:
		n.asked++
		answer.Answer = append(answer.Answer, &dns.A{
			Hdr: dns.RR_Header{Name: question.Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: n.address,
		})
	}
	_ = w.WriteMsg(answer) // who asks will ask again
}

func (n *nameServer) set(address string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.address = net.ParseIP(address)
}

func (n *nameServer) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked
}

// buildResolving builds podplane as it is but for one thing: it asks that server
// for names, because the machine's resolv.conf is not the test's to change.
func buildResolving(ctx context.Context, t *testing.T, server string) string {
	t.Helper()
	root, err := servers.ModuleDir(ctx)
	must(t, err)
	dir := t.TempDir()
	source, overlay, binary := filepath.Join(dir, "resolver.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "podplane")
	replaced, err := json.Marshal(map[string]any{
		"Replace": map[string]string{filepath.Join(root, "cmd", "podplane", "test_resolver.go"): source},
	})
	must(t, err,
		os.WriteFile(source, fmt.Appendf(nil, `package main

import (
	"context"
	"net"
)

func init() {
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, %q)
	}}
}
`, server), 0o600),
		os.WriteFile(overlay, replaced, 0o600))
	cmd := exec.CommandContext(ctx, "go", "build", "-race", "-tags", "hashicorpmetrics,grpcnotrace,nethttpomithttp2",
		"-overlay", overlay, "-o", binary, "./cmd/podplane")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binary
}
