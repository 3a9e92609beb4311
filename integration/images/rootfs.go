// SPDX-License-Identifier: MPL-2.0

package images

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// rootfs is a folder that becomes the content of an image.
type rootfs struct{ dir string }

// mkdir makes a folder and those above it with the mode, whatever the umask.
func (r rootfs) mkdir(path string, mode fs.FileMode) error {
	full := filepath.Join(r.dir, path)
	if err := os.MkdirAll(full, 0o700); err != nil {
		return err
	}
	for dir := filepath.Dir(full); len(dir) >= len(r.dir); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			return err
		}
	}
	return os.Chmod(full, mode)
}

// write puts a readable file at the path.
func (r rootfs) write(path, content string) error {
	if err := r.mkdir(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	full := filepath.Join(r.dir, path)
	if err := os.WriteFile(full, []byte(content), 0o600); err != nil {
		return err
	}
	return os.Chmod(full, 0o644)
}

// add copies a file of the machine to the path. Links are followed.
func (r rootfs) add(from, path string, mode fs.FileMode) (err error) {
	if err := r.mkdir(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	full := filepath.Join(r.dir, path)
	out, err := os.OpenFile(full, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) { // two programs with the same library
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return errors.Join(err, out.Close())
	}
	return errors.Join(out.Close(), os.Chmod(full, mode))
}

// program copies a program to the path, without the libraries that it needs.
func (r rootfs) program(from, path string) error { return r.add(from, path, 0o755) }

// libraries copies what the dynamic linker loads for a program, to where it looks for it. A static program needs
// nothing.
func (r rootfs) libraries(ctx context.Context, program string) error {
	files, err := libraries(ctx, program)
	if err != nil {
		return fmt.Errorf("libraries of %s: %w", program, err)
	}
	for _, file := range files {
		if err := r.add(file, file, 0o755); err != nil {
			return fmt.Errorf("libraries of %s: %w", program, err)
		}
	}
	return nil
}

// libraries asks ldd, since only the dynamic linker knows where it finds what.
func libraries(ctx context.Context, program string) ([]string, error) {
	dynamic, err := isDynamic(program)
	if err != nil || !dynamic {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, quickTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ldd", program).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("ldd: %w: %s", err, out)
	}
	return parseLdd(string(out))
}

// parseLdd reads lines like "libc.so.6 => /lib/libc.so.6 (0x…)", "/lib64/ld-linux.so.2 (0x…)", and
// "linux-vdso.so.1 (0x…)", which is the kernel's.
func parseLdd(out string) ([]string, error) {
	var files []string
	for line := range strings.Lines(out) {
		name, found, arrow := strings.Cut(strings.TrimSpace(line), " => ")
		if !arrow {
			found = name
		}
		if strings.HasPrefix(found, "not found") {
			return nil, fmt.Errorf("%s is not found", name)
		}
		if path, _, _ := strings.Cut(found, " ("); filepath.IsAbs(path) {
			files = append(files, path)
		}
	}
	return files, nil
}

func isDynamic(program string) (bool, error) {
	file, err := elf.Open(program)
	if err != nil {
		return false, err
	}
	defer func() { _ = file.Close() }()
	for _, segment := range file.Progs {
		if segment.Type == elf.PT_INTERP {
			return true, nil
		}
	}
	return false, nil
}

// architecture gives Go's name of the architecture that a program is for.
func architecture(program string) (string, error) {
	file, err := elf.Open(program)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", program, err)
	}
	defer func() { _ = file.Close() }()
	switch file.Machine {
	case elf.EM_X86_64:
		return "amd64", nil
	case elf.EM_AARCH64:
		return "arm64", nil
	default:
		return file.Machine.String(), nil
	}
}
