// SPDX-License-Identifier: MPL-2.0

package envoy

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// bootstrapFD is the number of the bootstrap's descriptor in Envoy: the first of exec.Cmd.ExtraFiles.
const bootstrapFD = 3

// bootstrapFile gives a descriptor to an unnamed file with the bootstrap in it. The caller closes it once the child has
// its copy. Envoy opens /dev/fd/N anew, so the offset does not matter.
func bootstrapFile(content []byte) (*os.File, error) {
	f, err := memfd(content)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		f, err = unlinkedFile(content, "")
	}
	if err != nil {
		return nil, fmt.Errorf("hand over bootstrap: %w", err)
	}
	return f, nil
}

// memfd puts the content into anonymous memory and seals it: nobody, not even Envoy, can change it afterwards.
func memfd(content []byte) (*os.File, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("envoy-bootstrap", flags|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate("envoy-bootstrap", flags)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "envoy-bootstrap")
	if _, err := f.Write(content); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return nil, errors.Join(os.NewSyscallError("add seals", err), f.Close())
	}
	return f, nil
}

// unlinkedFile is for kernels and sandboxes without memfd: a file of mode 0600 that loses its name before it gets its
// content. What is given can only be read. dir is as for os.CreateTemp.
func unlinkedFile(content []byte, dir string) (*os.File, error) {
	w, err := os.CreateTemp(dir, "envoy-bootstrap-*")
	if err != nil {
		return nil, err
	}
	r, err := os.Open(w.Name())
	err = errors.Join(err, os.Remove(w.Name()))
	if err == nil {
		_, err = w.Write(content)
	}
	if err = errors.Join(err, w.Close()); err == nil {
		return r, nil
	}
	if r != nil {
		err = errors.Join(err, r.Close())
	}
	return nil, err
}
