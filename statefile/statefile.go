// SPDX-License-Identifier: MPL-2.0

package statefile

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// magic begins every file; its last character is the version of the form.
const magic = "podplane state 1"

// maxSize bounds what is read back, in bytes.
const maxSize = 1 << 30

// ErrForeign marks a file that was written for another owner.
var ErrForeign = errors.New("it belongs to another proxy")

// File is one file in a folder.
type File struct {
	path  string
	owner string
}

// New gives the file of that name in a folder, which is made, for its owner
// alone, if it is not there. The owner is any text that tells whose content it
// is; only content of the same owner is read back. Nothing is written yet.
func New(folder, name, owner string) (*File, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("make folder for state: %w", err)
	}
	return &File{path: filepath.Join(folder, name), owner: owner}, nil
}

// Path is where the file is.
func (f *File) Path() string { return f.path }

// Save replaces the content. What is on the disk after a crash is the old or the
// new content, never a part.
func (f *File) Save(content []byte) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("save %s: %w", f.path, err)
		}
	}()
	// One name for what is not finished: what a killed process left is overwritten.
	next, err := os.OpenFile(f.path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return err
	}
	if err := write(next, f.seal(content)); err != nil {
		return errors.Join(err, os.Remove(next.Name()))
	}
	if err := os.Rename(next.Name(), f.path); err != nil {
		return errors.Join(err, os.Remove(next.Name()))
	}
	return nil
}

func write(file *os.File, content []byte) error {
	_, err := file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// seal puts owner and checksum in front of the content.
func (f *File) seal(content []byte) []byte {
	body := binary.AppendUvarint(nil, uint64(len(f.owner)))
	body = append(body, f.owner...)
	body = append(body, content...)
	sum := sha256.Sum256(body)
	return append(append([]byte(magic), sum[:]...), body...)
}

// Load gives the content. A file that is not there is fs.ErrNotExist, one of
// another owner ErrForeign.
func (f *File) Load() ([]byte, error) {
	content, err := f.load()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.path, err)
	}
	return content, nil
}

func (f *File) load() ([]byte, error) {
	// Without O_NONBLOCK a pipe in the file's place would hold the start for ever.
	file, err := os.OpenFile(f.path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("it is not a regular file")
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("others may read or write it, its mode is %v", info.Mode().Perm())
	case info.Size() > maxSize:
		return nil, fmt.Errorf("it is larger than %d bytes", maxSize)
	}
	sealed, err := io.ReadAll(io.LimitReader(file, maxSize))
	if err != nil {
		return nil, err
	}
	return f.open(sealed)
}

var errDamaged = errors.New("it is damaged")

func (f *File) open(sealed []byte) ([]byte, error) {
	rest, ok := bytes.CutPrefix(sealed, []byte(magic))
	if !ok || len(rest) < sha256.Size {
		return nil, errDamaged
	}
	body := rest[sha256.Size:]
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], rest[:sha256.Size]) {
		return nil, errDamaged
	}
	size, n := binary.Uvarint(body)
	if n <= 0 || size > uint64(len(body)-n) {
		return nil, errDamaged
	}
	owner, content := body[n:n+int(size)], body[n+int(size):]
	if string(owner) != f.owner {
		return nil, ErrForeign
	}
	return content, nil
}

// Remove deletes the file. One that is not there is no error.
func (f *File) Remove() error {
	if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
