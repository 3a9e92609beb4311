// SPDX-License-Identifier: MPL-2.0

package netns

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if Inside() {
		goleak.VerifyTestMain(m)
		return
	}
	refused := Check()
	code, err := Reexec()
	switch {
	case errors.Is(err, ErrNotPossible) && refused != nil:
		fmt.Fprintln(os.Stderr, "SKIP: network namespaces are not tested:", err)
		os.Exit(0)
	case err != nil || refused != nil:
		fmt.Fprintln(os.Stderr, refused, err)
		os.Exit(1)
	}
	os.Exit(code)
}

// Two pods listen on the same port, each is reached at its own address, and each has a loopback that the other has not.
func TestTwoPods(t *testing.T) {
	bridge, err := NewBridge("test0", netip.MustParsePrefix("10.244.0.0/24"), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	pods := make([]*Namespace, 2)
	for i := range pods {
		if pods[i], err = bridge.New(); err != nil {
			t.Fatal(err)
		}
		serve(t, pods[i], "0.0.0.0:8080", fmt.Sprint("pod ", i))
		defer func() {
			if err := pods[i].Close(); err != nil {
				t.Error(err)
			}
		}()
	}
	if i, err := net.InterfaceByName("test0"); err != nil || !bytes.Equal(i.HardwareAddr, bridgeAddress()) {
		t.Errorf("with pods the bridge is %+v, %v", i, err)
	}
	if pods[0].Addr == pods[1].Addr || pods[0].Addr == bridge.Addr() {
		t.Fatalf("addresses are not distinct: %s, %s and the bridge's %s", pods[0].Addr, pods[1].Addr, bridge.Addr())
	}
	for i, to := range pods {
		for j, from := range pods {
			expect(t, from, net.JoinHostPort(to.Addr.String(), "8080"), fmt.Sprint("pod ", i))
			expect(t, from, "127.0.0.1:8080", fmt.Sprint("pod ", j))
		}
	}
	if conn, err := net.Dial("tcp", "127.0.0.1:8080"); err == nil {
		conn.Close()
		t.Error("a pod's loopback is this program's")
	}
	service := netip.MustParseAddr("10.96.0.10")
	if err := bridge.AddLocal(service); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", service.String()+":443")
	if err != nil {
		t.Fatal(err)
	}
	answer(t, l, "service")
	expect(t, pods[0], l.Addr().String(), "service")
}

// Not every root may make namespaces. Where it may not, that is said, and is no failure.
func TestNotPossible(t *testing.T) {
	t.Setenv(insideVar, "")
	var out []byte
	err := onThread(func() error {
		// What the program that is started there may not have, it does not get.
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_SYS_ADMIN, 0, 0, 0); err != nil {
			return err
		}
		var err error
		out, err = exec.Command(os.Args[0], "-test.run=^TestTwoPods$").CombinedOutput()
		return err
	})
	if err != nil || !strings.Contains(string(out), "SKIP") || !strings.Contains(string(out), "CAP_SYS_ADMIN") {
		t.Errorf("%v, %s", err, out)
	}
}

// serve listens in the pod's namespace.
func serve(t *testing.T, pod *Namespace, address, greeting string) {
	t.Helper()
	var l net.Listener
	err := pod.within(func() (err error) {
		l, err = net.Listen("tcp", address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	answer(t, l, greeting)
}

func answer(t *testing.T, l net.Listener, greeting string) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, greeting)
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
}

func expect(t *testing.T, from *Namespace, address, want string) {
	t.Helper()
	conn, err := from.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got, err := io.ReadAll(conn)
	if err != nil || string(got) != want {
		t.Errorf("%s answered %q (%v), not %q", address, got, err, want)
	}
}

func TestTheNetworkIsUsedUp(t *testing.T) {
	b := &Bridge{prefix: netip.MustParsePrefix("10.1.0.0/30"), last: netip.MustParseAddr("10.1.0.3"), dir: t.TempDir()}
	if _, err := b.New(); err == nil {
		t.Error("an address outside of the network was given out")
	}
}
