// SPDX-License-Identifier: MPL-2.0

package statefile

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func newFile(t *testing.T, folder string) *File {
	t.Helper()
	f, err := New(folder, "state", "web")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestWhatIsSavedIsGivenBack(t *testing.T) {
	t.Parallel()
	f := newFile(t, filepath.Join(t.TempDir(), "made", "for it"))
	if _, err := f.Load(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before the first save: %v", err)
	}
	for _, content := range []string{"first", "", strings.Repeat("long", 100_000)} {
		if err := f.Save([]byte(content)); err != nil {
			t.Fatal(err)
		}
		got, err := f.Load()
		if err != nil || string(got) != content {
			t.Errorf("%d bytes back of %d: %v", len(got), len(content), err)
		}
	}
	info, err := os.Stat(f.Path())
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	entries, err := os.ReadDir(filepath.Dir(f.Path()))
	if err != nil || len(entries) != 1 {
		t.Errorf("left in the folder: %v, %v", entries, err)
	}
	if err := errors.Join(f.Remove(), f.Remove()); err != nil {
		t.Error(err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		harm func(t *testing.T, f *File)
		want string
	}{
		"another owner": {func(t *testing.T, f *File) {
			t.Helper()
			f.owner = "api"
		}, ErrForeign.Error()},
		"a changed byte": {func(t *testing.T, f *File) {
			t.Helper()
			edit(t, f, func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
		}, "damaged"},
		"cut off": {func(t *testing.T, f *File) {
			t.Helper()
			edit(t, f, func(b []byte) []byte { return b[:len(b)-1] })
		}, "damaged"},
		"another form": {func(t *testing.T, f *File) {
			t.Helper()
			edit(t, f, func(b []byte) []byte { b[len(magic)-1] = '2'; return b })
		}, "damaged"},
		"empty": {func(t *testing.T, f *File) {
			t.Helper()
			edit(t, f, func([]byte) []byte { return nil })
		}, "damaged"},
		"readable for others": {func(t *testing.T, f *File) {
			t.Helper()
			if err := os.Chmod(f.Path(), 0o644); err != nil {
				t.Fatal(err)
			}
		}, "others may read"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFile(t, t.TempDir())
			if err := f.Save([]byte("secret content")); err != nil {
				t.Fatal(err)
			}
			tt.harm(t, f)
			_, err := f.Load()
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), f.Path()) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func edit(t *testing.T, f *File, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(f.Path())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.Path(), change(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFolderThatCannotBe(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(filepath.Join(file, "folder"), "state", "web"); err == nil {
		t.Error("a folder below a file")
	}
	f := newFile(t, t.TempDir())
	if err := os.Remove(filepath.Dir(f.Path())); err != nil {
		t.Fatal(err)
	}
	if err := f.Save(nil); err == nil || !strings.Contains(err.Error(), f.Path()) {
		t.Errorf("saved into a folder that is gone: %v", err)
	}
}

// FuzzOpen: whatever is on the disk, nothing panics, and nothing but what was
// sealed for the owner is given back.
func FuzzOpen(f *testing.F) {
	web := &File{owner: "web"}
	f.Add(web.seal([]byte("content")))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, sealed []byte) {
		content, err := web.open(sealed)
		if err == nil && !bytes.Equal(web.seal(content), sealed) {
			t.Errorf("opened what was not sealed: %q", content)
		}
	})
}

// TestWhatAKilledProcessLeft: the part of a file that was never finished is
// overwritten, and nothing is left.
func TestWhatAKilledProcessLeft(t *testing.T) {
	t.Parallel()
	f := newFile(t, t.TempDir())
	if err := os.WriteFile(f.Path()+".new", []byte("half of it, and longer than what comes"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Save([]byte("whole")); err != nil {
		t.Fatal(err)
	}
	if got, err := f.Load(); err != nil || string(got) != "whole" {
		t.Errorf("%q, %v", got, err)
	}
	if entries, err := os.ReadDir(filepath.Dir(f.Path())); err != nil || len(entries) != 1 {
		t.Errorf("left in the folder: %v, %v", entries, err)
	}
}

// TestPipeInItsPlace: it is refused at once, not waited for.
func TestPipeInItsPlace(t *testing.T) {
	t.Parallel()
	f := newFile(t, t.TempDir())
	if err := unix.Mkfifo(f.Path(), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Load(); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("got %v", err)
	}
}
