// SPDX-License-Identifier: MPL-2.0

package container

import (
	"fmt"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// devices are what every container finds in /dev.
var devices = []string{"null", "zero", "full", "random", "urandom"}

// buildRoot puts up the file system and makes it the only one.
func (s Spec) buildRoot() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("tmpfs", s.Root, "tmpfs", unix.MS_NOSUID, "mode=0755,size=64m"); err != nil {
		return err
	}
	if err := s.fill(); err != nil {
		return err
	}
	for _, mount := range s.Mounts {
		if err := s.mount(mount); err != nil {
			return fmt.Errorf("mount %s at %s: %w", mount.Source, mount.Target, err)
		}
	}
	old := filepath.Join(s.Root, ".old")
	if err := os.Mkdir(old, 0o700); err != nil {
		return err
	}
	if err := unix.PivotRoot(s.Root, old); err != nil {
		return fmt.Errorf("change root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	if err := unix.Unmount("/.old", unix.MNT_DETACH); err != nil {
		return err
	}
	if err := os.Remove("/.old"); err != nil {
		return err
	}
	if s.ReadOnly {
		return unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_RDONLY|unix.MS_NOSUID, "")
	}
	return nil
}

// fill makes what every container has.
func (s Spec) fill() error {
	for dir, mode := range map[string]os.FileMode{"proc": 0o755, "dev": 0o755, "etc": 0o755, "tmp": 0o777} {
		path := filepath.Join(s.Root, dir)
		if err := os.Mkdir(path, mode); err != nil {
			return err
		}
		if err := os.Chmod(path, mode); err != nil { // whatever the umask
			return err
		}
	}
	if err := unix.Mount("proc", filepath.Join(s.Root, "proc"), "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount proc: %w", err)
	}
	for _, name := range devices {
		if err := s.mount(Mount{Source: "/dev/" + name, Target: "/dev/" + name}); err != nil {
			return err
		}
	}
	if err := os.Symlink("/proc/self/fd", filepath.Join(s.Root, "dev", "fd")); err != nil {
		return err
	}
	for path, content := range s.Files {
		path = filepath.Join(s.Root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (s Spec) mount(m Mount) error {
	target := filepath.Join(s.Root, m.Target)
	info, err := os.Stat(m.Source)
	if err != nil {
		return err
	}
	if info.IsDir() {
		err = os.MkdirAll(target, 0o755)
	} else if err = os.MkdirAll(filepath.Dir(target), 0o755); err == nil {
		err = os.WriteFile(target, nil, 0o644)
	}
	if err != nil {
		return err
	}
	if err := unix.Mount(m.Source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if m.ReadOnly {
		return unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
	}
	return nil
}

// rawGroups sets the supplementary groups of this thread alone; [unix.Setgroups] does it for all of them.
func rawGroups(groups []int) error {
	list := make([]uint32, 0, len(groups)+1)
	for _, group := range groups {
		list = append(list, uint32(group))
	}
	_, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(list)), uintptr(unsafe.Pointer(unsafe.SliceData(list))), 0) //nolint:gosec // as x/sys/unix does it
	if errno != 0 {
		return fmt.Errorf("set groups: %w", errno)
	}
	return nil
}
