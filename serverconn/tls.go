// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	expcredentials "google.golang.org/grpc/experimental/credentials"
)

// security is the TLS setting of a link. Two of them are interchangeable when
// their prints are equal.
type security struct {
	config *tls.Config // nil for plain text
	print  [sha256.Size]byte
}

// loadSecurity reads the files that c names. Errors name the file.
func loadSecurity(c TLSConfig) (security, error) {
	if c.Disabled {
		return security{}, nil
	}
	config := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         c.ServerName,
		InsecureSkipVerify: c.InsecureSkipVerify, // #nosec G402 -- the operator's explicit wish
	}
	digest := sha256.New()
	if c.CAPath != "" {
		authorities, err := readAuthorities(c.CAPath)
		if err != nil {
			return security{}, fmt.Errorf("CA certificates: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		for _, cert := range authorities {
			config.RootCAs.AddCert(cert)
			digest.Write(cert.Raw)
		}
	}
	if c.CertFile != "" {
		certPEM, err := os.ReadFile(c.CertFile)
		if err != nil {
			return security{}, fmt.Errorf("client certificate: %w", err)
		}
		keyPEM, err := os.ReadFile(c.KeyFile)
		if err != nil {
			return security{}, fmt.Errorf("client key: %w", err)
		}
		pair, err := tls.X509KeyPair(certPEM, keyPEM)
		if err != nil {
			return security{}, fmt.Errorf("client certificate %s with key %s: %w", c.CertFile, c.KeyFile, err)
		}
		config.Certificates = []tls.Certificate{pair}
		digest.Write(certPEM)
		digest.Write(keyPEM)
	}
	s := security{config: config}
	digest.Sum(s.print[:0])
	return s, nil
}

// readAuthorities reads the certificates of one PEM file, or of every file of a
// folder that has some. In a folder, files without certificates are passed
// over, because mounted secrets have keys beside them.
func readAuthorities(path string) ([]*x509.Certificate, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	files := []string{path}
	if info.IsDir() {
		if files, err = visibleFiles(path); err != nil {
			return nil, err
		}
	}
	var all []*x509.Certificate
	for _, file := range files {
		certs, err := readCertificates(file)
		if err != nil {
			return nil, err
		}
		all = append(all, certs...)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: no PEM certificate found", path)
	}
	return all, nil
}

// visibleFiles lists the regular files directly in a folder. Names that start
// with a dot are left out: in a Kubernetes volume they hold the same files
// once more, under the names "..data" and "..<date>".
func visibleFiles(folder string) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, entry := range entries {
		path := filepath.Join(folder, entry.Name())
		if strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		info, err := os.Stat(path) // follows the volume's symbolic links
		if errors.Is(err, os.ErrNotExist) {
			continue // the folder is being changed under us; another look follows
		}
		if err != nil {
			return nil, err
		}
		if info.Mode().IsRegular() {
			files = append(files, path)
		}
	}
	return files, nil
}

func readCertificates(file string) ([]*x509.Certificate, error) {
	rest, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var certs []*x509.Certificate
	for len(bytes.TrimSpace(rest)) > 0 {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: certificate %d: %w", file, len(certs)+1, err)
		}
		certs = append(certs, cert)
	}
	return certs, nil
}

// transport is what the connection manager uses for the same setting, ALPN off
// included: Consul servers before 1.15 do not negotiate it.
func (s security) transport() credentials.TransportCredentials {
	if s.config == nil {
		return insecure.NewCredentials()
	}
	return expcredentials.NewTLSWithALPNDisabled(s.config)
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
