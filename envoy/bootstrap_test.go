// SPDX-License-Identifier: MPL-2.0

package envoy

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestBootstrapFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, create := range map[string]func([]byte) (*os.File, error){
		"memfd":    memfd,
		"unlinked": func(b []byte) (*os.File, error) { return unlinkedFile(b, dir) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, err := create([]byte("bootstrap"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			again, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			if content, err := io.ReadAll(again); err != nil || string(content) != "bootstrap" {
				t.Errorf("read %q (%v)", content, err)
			}
		})
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := unlinkedFile(nil, filepath.Join(dir, "absent")); err == nil {
		t.Error("no error for a folder that does not exist")
	}
}

func TestMemfdIsSealed(t *testing.T) {
	t.Parallel()
	f, err := memfd([]byte("bootstrap"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("x"), 0); err == nil {
		t.Error("content could be changed")
	}
	if err := f.Truncate(0); err == nil {
		t.Error("content could be cut")
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, 0); err == nil {
		t.Error("seals could be added")
	}
}
