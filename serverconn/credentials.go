// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// token is an ACL token; the zero value is the anonymous one.
type token struct {
	secret string
	// accessor is known of tokens obtained by login only.
	accessor string
	since    time.Time
	// login tells that the token was obtained by login and is ours to destroy.
	login bool
}

// staticToken reads the token of static credentials; of others, it is anonymous.
func (c Credentials) staticToken() (token, error) {
	if c.Type != CredentialStatic {
		return token{}, nil
	}
	secret := c.StaticToken
	if secret == "" {
		var err error
		if secret, err = readSecret(c.StaticTokenPath); err != nil {
			return token{}, fmt.Errorf("static token file: %w", err)
		}
	}
	return token{secret: secret, since: time.Now()}, nil
}

// bearer reads what is presented to the auth method.
func (c LoginConfig) bearer() (string, error) {
	if c.BearerToken != "" {
		return c.BearerToken, nil
	}
	secret, err := readSecret(c.BearerTokenPath)
	if err != nil {
		return "", fmt.Errorf("bearer token file: %w", err)
	}
	return secret, nil
}

// files are those to be watched: everything the session was told to read.
func (c Config) files() []string {
	var files []string
	add := func(path string) {
		if path != "" {
			files = append(files, path)
		}
	}
	if !c.TLS.Disabled {
		add(c.TLS.CAPath)
		add(c.TLS.CertFile)
		add(c.TLS.KeyFile)
	}
	switch c.Credentials.Type {
	case CredentialStatic:
		if c.Credentials.StaticToken == "" {
			add(c.Credentials.StaticTokenPath)
		}
	case CredentialLogin:
		if c.Credentials.Login.BearerToken == "" {
			add(c.Credentials.Login.BearerTokenPath)
		}
	}
	return files
}

// readSecret reads a file that holds one secret; white space around it is not
// part of it. Errors name the file and never its content.
func readSecret(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	secret := strings.TrimSpace(string(content))
	switch {
	case secret == "":
		return "", fmt.Errorf("%s is empty", path)
	case strings.ContainsFunc(secret, func(r rune) bool { return r < ' ' || r > '~' }):
		// It would not even be valid as a header of a request.
		return "", fmt.Errorf("%s holds characters that no token has", path)
	}
	return secret, nil
}
