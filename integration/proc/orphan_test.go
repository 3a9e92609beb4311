// SPDX-License-Identifier: MPL-2.0

package proc

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// orphanEnv makes the test binary start a process and wait to be killed.
const orphanEnv = "PROC_TEST_MAKE_ORPHAN"

func makeOrphan() {
	p, err := Start(Spec{Name: "orphan", Args: []string{"/bin/sleep", "1000"}})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(p.PID())
	select {}
}

func TestProcessesDieWithTheirStarter(t *testing.T) {
	t.Parallel()
	starter := exec.CommandContext(t.Context(), os.Args[0])
	starter.Env = append(os.Environ(), orphanEnv+"=1")
	out, err := starter.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := starter.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	var pid int
	if _, scanErr := fmt.Sscan(line, &pid); err != nil || scanErr != nil {
		t.Fatalf("the starter said %q: %v, %v", line, err, scanErr)
	}
	if gone(pid) {
		t.Fatalf("process %d did not run", pid)
	}
	if err := starter.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = starter.Wait() // killed, as intended
	eventually(t, "the process is gone", func() bool { return gone(pid) })
}
