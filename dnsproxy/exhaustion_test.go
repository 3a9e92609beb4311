// SPDX-License-Identifier: MPL-2.0

package dnsproxy

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/miekg/dns"
)

// exhaustionEnv makes TestDescriptorExhaustion the process that runs out of
// descriptors: the limit is the process's.
const exhaustionEnv = "DNSPROXY_TEST_FEW_DESCRIPTORS"

func TestDescriptorExhaustion(t *testing.T) {
	if os.Getenv(exhaustionEnv) != "" {
		serveWithFewDescriptors(t)
		return
	}
	t.Parallel()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDescriptorExhaustion$")
	child.Env = append(os.Environ(), exhaustionEnv+"=1")
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	addr := strings.TrimSpace(line)
	for range 100 { // the kernel takes them, whether or not the process can
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	packet, _ := question("api.service.consul.", dns.TypeA).Pack()
	for _, transport := range []string{"udp", "tcp", "tcp", "udp"} {
		if exchangeRaw(t, transport, addr, packet, patienceOfTests) == nil {
			t.Errorf("no answer over %s", transport)
		}
	}
	_ = stdin.Close()
	if err := child.Wait(); err != nil {
		t.Errorf("the server did not end well: %v", err)
	}
}

// serveWithFewDescriptors prints its address and serves until its input ends.
func serveWithFewDescriptors(t *testing.T) {
	t.Helper()
	s, _ := start(t, Config{}, addressOf("10.0.0.1"))
	if answer := ask(t, s, "udp", question("api.service.consul.", dns.TypeA)); len(answer.Answer) != 1 {
		t.Fatal(answer)
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	few := syscall.Rlimit{Cur: uint64(len(open) + 10), Max: uint64(len(open) + 10)}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	fmt.Println(s.UDPAddr())
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
}
