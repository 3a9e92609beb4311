// SPDX-License-Identifier: MPL-2.0

package integration

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"podplane/integration/mesh"
)

// machine is a network namespace: a machine of its own, as far as networks go.
type machine struct {
	name    string
	address string // on the network between the machines
}

// newMachines makes two machines with a cable between them, or skips the test
// where that is not allowed.
func newMachines(t *testing.T) (a, b machine) {
	t.Helper()
	ip, err := exec.LookPath("ip")
	if err != nil || os.Geteuid() != 0 {
		t.Skip("no network namespaces here: they need ip(8) and root")
	}
	run := func(words string) error {
		out, err := exec.CommandContext(context.WithoutCancel(t.Context()), ip, strings.Fields(words)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip %s: %w: %s", words, err, out)
		}
		return nil
	}
	prefix := fmt.Sprintf("podplane-%d-", os.Getpid())
	a, b = machine{prefix + "a", "10.77.0.1"}, machine{prefix + "b", "10.77.0.2"}
	for _, m := range []machine{a, b} {
		if err := run("netns add " + m.name); err != nil {
			t.Skip("no network namespaces here:", err)
		}
		t.Cleanup(func() { must(t, run("netns del "+m.name)) })
	}
	must(t,
		run("-n "+a.name+" link add eth0 type veth peer name eth0 netns "+b.name))
	for _, m := range []machine{a, b} {
		must(t, run("-n "+m.name+" link set lo up"), run("-n "+m.name+" link set eth0 up"),
			run("-n "+m.name+" addr add "+m.address+"/24 dev eth0"))
	}
	return a, b
}

// do calls f on a thread that is on the machine: sockets that f makes are the
// machine's, whoever uses them later.
func (m machine) do(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		file, err := os.Open("/run/netns/" + m.name)
		if err != nil {
			result <- err
			return
		}
		defer func() { _ = file.Close() }()
		if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("enter %s: %w", m.name, err)
			return
		}
		result <- f()
	}()
	return <-result
}

// dial connects from the machine. The address is numeric, so that no other
// goroutine has a part in it.
func (m machine) dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = m.do(func() (err error) {
		conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

func (m machine) listen(t *testing.T, address string) net.Listener {
	t.Helper()
	var l net.Listener
	must(t, m.do(func() (err error) {
		l, err = net.Listen("tcp", address)
		return err
	}))
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// get asks a URL from the machine, over a connection of its own.
func (m machine) get(ctx context.Context, url string) (code int, body string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: m.dial}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, strings.TrimSpace(string(text)), err
}

// peerName connects by TLS from the machine, without a certificate of the mesh,
// and gives the name in the certificate that is shown, and how that ended.
func (m machine) peerName(ctx context.Context, address string) (name string, end error) {
	raw, err := m.dial(ctx, "tcp", address)
	if err != nil {
		return "", err
	}
	conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if err := conn.HandshakeContext(ctx); err != nil {
		return "", err
	}
	if uris := conn.ConnectionState().PeerCertificates[0].URIs; len(uris) == 1 {
		name = uris[0].Path
	}
	_, end = conn.Read(make([]byte, 1)) // under TLS 1.3 the refusal comes with the first read
	return name, end
}

// relay offers a server of this test's own namespace on the machine.
func (m machine) relay(t *testing.T, port int, server string) {
	t.Helper()
	l := m.listen(t, fmt.Sprintf("%s:%d", m.address, port))
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { mesh.Relay(ctx, l, server) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}
