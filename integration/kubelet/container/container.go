// SPDX-License-Identifier: MPL-2.0

package container

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Namespaces are those in which the process that calls [Spec.Run] has to be started.
const Namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS

// Spec describes a container, or a command in one.
type Spec struct {
	// NetNS is the file of the pod's network namespace.
	NetNS string
	// Target is the process whose mounts a command shares; for Exec only.
	Target int
	// Started is a file into which "started" is written when the program is executed.
	Started string
	// Hostname is the pod's name.
	Hostname string
	// Root is an empty folder.
	Root string
	// ReadOnly makes everything read-only that is not a mount.
	ReadOnly bool
	// Mounts are in the order in which they are made.
	Mounts []Mount
	// Files are small files by path.
	Files map[string]string
	// Dir is the working folder; empty is the root.
	Dir string
	// UID, GID and Groups are the user's.
	UID, GID int
	Groups   []int
	// DropAll takes all capabilities away.
	DropAll bool
	// NoNewPrivs keeps programs from gaining privileges.
	NoNewPrivs bool
	// Args are the program, as a path or a name on PATH, and its arguments.
	Args []string
	// Env is the whole environment.
	Env []string
}

// Mount shows a file or folder of the machine in the container.
type Mount struct {
	Source, Target string
	ReadOnly       bool
}

// Run puts up the container around this process, which must be in [Namespaces] of its own and on a locked thread, and
// executes the program. It comes back only with an error.
func (s Spec) Run() error {
	started, err := os.OpenFile(s.Started, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := joinNet(s.NetNS); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(s.Hostname)); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	if err := s.buildRoot(); err != nil {
		return fmt.Errorf("root file system: %w", err)
	}
	return s.become(func() error {
		_, err := started.WriteString("started")
		return err
	})
}

// Exec joins the namespaces of a container that runs, but for that of its processes, and executes the command. It comes
// back only with an error.
func (s Spec) Exec() error {
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/mnt", s.Target), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := joinNet(s.NetNS); err != nil {
		return err
	}
	// A thread that shares its root and working folder with others may not change mounts.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	if err := unix.Setns(fd, unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("join mounts: %w", err)
	}
	return s.become(func() error { return nil })
}

func joinNet(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = unix.Setns(fd, unix.CLONE_NEWNET)
	}
	if err != nil {
		return fmt.Errorf("join network: %w", err)
	}
	return nil
}

// become gives up what the program may not have, and executes it.
func (s Spec) become(last func() error) error {
	if s.Dir != "" {
		if err := unix.Chdir(s.Dir); err != nil {
			return fmt.Errorf("working folder %s: %w", s.Dir, err)
		}
	}
	program, err := s.lookUp()
	if err != nil {
		return err
	}
	if err := s.drop(); err != nil {
		return fmt.Errorf("become user %d: %w", s.UID, err)
	}
	if err := last(); err != nil {
		return err
	}
	return fmt.Errorf("execute %s: %w", program, unix.Exec(program, s.Args, s.Env))
}

// lookUp finds the program by the container's PATH.
func (s Spec) lookUp() (string, error) {
	if len(s.Args) == 0 {
		return "", errors.New("no command")
	}
	name := s.Args[0]
	if strings.Contains(name, "/") {
		return name, nil
	}
	path := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	for _, entry := range s.Env {
		if value, ok := strings.CutPrefix(entry, "PATH="); ok {
			path = value
		}
	}
	for dir := range strings.SplitSeq(path, ":") {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Mode()&0o111 != 0 && !info.IsDir() {
			return filepath.Join(dir, name), nil
		}
	}
	return "", fmt.Errorf("%s: %w in %s", name, fs.ErrNotExist, path)
}

func (s Spec) drop() error {
	if s.DropAll {
		for capability := range uintptr(unix.CAP_LAST_CAP + 1) {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
				return err
			}
		}
	}
	// For this thread alone, which is the one that goes on.
	if err := rawGroups(s.Groups); err != nil {
		return err
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(s.GID), uintptr(s.GID), uintptr(s.GID)); errno != 0 {
		return errno
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(s.UID), uintptr(s.UID), uintptr(s.UID)); errno != 0 {
		return errno
	}
	if s.DropAll {
		header := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(header, &none[0]); err != nil {
			return err
		}
	}
	if s.NoNewPrivs {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return err
		}
	}
	// The change of the user took it away.
	return unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
}
