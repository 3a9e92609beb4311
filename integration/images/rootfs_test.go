// SPDX-License-Identifier: MPL-2.0

package images

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestParseLdd(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		out  string
		want []string
		err  string
	}{
		"glibc": {
			"\tlinux-vdso.so.1 (0x00007f0c)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n",
			[]string{"/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"}, "",
		},
		"musl":    {"\t/lib/ld-musl-x86_64.so.1 (0x7f)\n\tlibc.musl-x86_64.so.1 => /lib/ld-musl-x86_64.so.1 (0x7f)\n", []string{"/lib/ld-musl-x86_64.so.1", "/lib/ld-musl-x86_64.so.1"}, ""},
		"missing": {"\tlibx.so.1 => not found\n", nil, "libx.so.1"},
		"empty":   {"", nil, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := parseLdd(tt.out)
			if !slices.Equal(got, tt.want) || (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got %q, %v; want %q and an error with %q", got, err, tt.want, tt.err)
			}
		})
	}
}

// A program of the machine with its libraries runs with nothing else around it: the linker of the folder is told to
// look nowhere but in the folder.
func TestAProgramBringsItsLibraries(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("env")
	if err != nil {
		t.Skip("this machine has no env")
	}
	if dynamic, err := isDynamic(program); err != nil || !dynamic {
		t.Skipf("%s is not linked dynamically: %v", program, err)
	}
	r := rootfs{dir: t.TempDir()}
	if err := r.program(program, "/usr/bin/env"); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second program with the same libraries
		if err := r.libraries(t.Context(), program); err != nil {
			t.Fatal(err)
		}
	}
	files, err := libraries(t.Context(), program)
	if err != nil || len(files) < 2 {
		t.Fatalf("libraries of %s: %q, %v", program, files, err)
	}
	var linker string
	var folders []string
	for _, file := range files {
		folders = append(folders, filepath.Join(r.dir, filepath.Dir(file)))
		if strings.HasPrefix(filepath.Base(file), "ld-") {
			linker = filepath.Join(r.dir, file)
		}
	}
	cmd := exec.CommandContext(t.Context(), linker, "--inhibit-cache", "--library-path", strings.Join(folders, ":"),
		filepath.Join(r.dir, "/usr/bin/env"))
	cmd.Env = []string{"SAID=hello"}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "SAID=hello") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestAStaticProgramNeedsNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		program := filepath.Join(dir, arch)
		cmd := exec.CommandContext(t.Context(), "go", "build", "-o", program, "main.go")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if files, err := libraries(t.Context(), program); len(files) > 0 || err != nil {
			t.Errorf("libraries of a static program: %q, %v", files, err)
		}
		if got, err := architecture(program); got != arch || err != nil {
			t.Errorf("architecture %q, %v; want %s", got, err, arch)
		}
	}
	if _, err := architecture(filepath.Join(dir, "main.go")); err == nil {
		t.Error("a text has an architecture")
	}
}

func TestRootfsIsReadableForAll(t *testing.T) {
	t.Parallel()
	r := rootfs{dir: filepath.Join(t.TempDir(), "rootfs")}
	b := &Builder{Root: root, Platform: "linux/" + runtime.GOARCH}
	lines, what, err := b.base(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(lines, "USER 65532:65532") || !strings.Contains(what, "a user") {
		t.Errorf("lines %q, made of %q", lines, what)
	}
	for path, want := range map[string]fs.FileMode{
		"/": fs.ModeDir | 0o755, "/etc": fs.ModeDir | 0o755, "/etc/passwd": 0o644, "/tmp": fs.ModeDir | fs.ModeSticky | 0o777,
	} {
		info, err := os.Stat(filepath.Join(r.dir, path))
		if err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
}
