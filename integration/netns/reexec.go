// SPDX-License-Identifier: MPL-2.0

package netns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// insideVar tells the program that it has been started by [Reexec].
const insideVar = "PODPLANE_TEST_NETNS"

// ErrNotPossible is wrapped by [Reexec] and [Check] where namespaces may not be made.
var ErrNotPossible = errors.New("no network namespaces can be made, which takes root with CAP_SYS_ADMIN")

// Inside tells whether this program runs in namespaces that [Reexec] made for it.
func Inside() bool { return os.Getenv(insideVar) != "" }

// Check tells whether [Reexec] is possible, for who has much to prepare before it.
func Check() error {
	if err := onThread(func() error { return unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS) }); err != nil {
		return fmt.Errorf("%w: %w", ErrNotPossible, err)
	}
	return nil
}

// Reexec runs this program once more, with the same arguments, in a network and a mount namespace of its own, and gives
// its exit code. env are further variables. The network has nothing but a loopback interface until [NewBridge].
func Reexec(env ...string) (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(self, os.Args[1:]...) //nolint:noctx // it ends by itself, or by the signals that are passed on
	cmd.Env = append(append(os.Environ(), env...), insideVar+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL,
	}
	// The parent-death signal comes at the end of the thread that started the child (https://go.dev/issue/27505).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		if errors.Is(err, os.ErrPermission) {
			err = fmt.Errorf("%w: %w", ErrNotPossible, err)
		}
		return 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case sig := <-signals:
			_ = cmd.Process.Signal(sig) // it may have ended
		case err := <-ended:
			if exit, exited := errors.AsType[*exec.ExitError](err); exited && exit.ExitCode() >= 0 {
				return exit.ExitCode(), nil
			}
			return 0, err
		}
	}
}

// setUp keeps mounts of this program from others, and takes loopback into use.
func setUp() error {
	if !Inside() {
		return errors.New("not in a network namespace of its own")
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	return up("lo")
}
