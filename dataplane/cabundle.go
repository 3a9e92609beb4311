// SPDX-License-Identifier: MPL-2.0

package dataplane

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
)

// caBundle gives the certificates that the files of a folder hold, in PEM, each
// once. What is no certificate is passed over, as programs do that look up CAs in
// a folder, and so is what cannot be read: package envoybootstrap refuses a folder
// in which nothing is found.
func caBundle(folder string) string {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return ""
	}
	var bundle bytes.Buffer
	seen := map[string]bool{}
	for _, e := range entries {
		path := filepath.Join(folder, e.Name())
		// The entry's own type will not do: the files of a ConfigMap are links.
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			continue
		}
		content, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
			if block.Type != "CERTIFICATE" || seen[string(block.Bytes)] {
				continue
			}
			if _, err := x509.ParseCertificate(block.Bytes); err != nil {
				continue
			}
			seen[string(block.Bytes)] = true
			bundle.Write(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes}))
		}
	}
	return bundle.String()
}
