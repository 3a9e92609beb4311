// SPDX-License-Identifier: MPL-2.0

package dataplane

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// newCA gives a certificate in PEM.
func newCA(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func putFile(t *testing.T, folder, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCABundle(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if got := caBundle(folder); got != "" {
		t.Errorf("an empty folder gives %q", got)
	}
	if got := caBundle(filepath.Join(folder, "none")); got != "" {
		t.Errorf("no folder gives %q", got)
	}
	one, two, three := newCA(t), newCA(t), newCA(t)
	// A mounted ConfigMap: the files are links into a folder beside them.
	if err := os.Mkdir(filepath.Join(folder, "..data"), 0o700); err != nil {
		t.Fatal(err)
	}
	putFile(t, filepath.Join(folder, "..data"), "a.pem", "# the first\n"+one+"between\n"+two)
	if err := os.Symlink(filepath.Join("..data", "a.pem"), filepath.Join(folder, "a.pem")); err != nil {
		t.Fatal(err)
	}
	putFile(t, folder, "b.crt", one+three) // the first once more
	putFile(t, folder, "c.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
	putFile(t, folder, "d.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
	putFile(t, folder, "README", "nothing to see")
	if err := unix.Mkfifo(filepath.Join(folder, "e.pem"), 0o600); err != nil { // opening it would block
		t.Fatal(err)
	}
	if got := caBundle(folder); got != one+two+three {
		t.Errorf("got %q", got)
	}
}
