// SPDX-License-Identifier: MPL-2.0

package consulhttp

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"podplane/config"
)

// loginTimeout bounds a login, so that one that hangs does not hang with it what
// waits for the token.
const loginTimeout = 15 * time.Second

// tokenSource gives the token of the moment.
type tokenSource interface {
	get(context.Context) (config.Secret, error)
	// forget says that the servers do not know a token any more.
	forget(config.Secret)
	close(context.Context) error
}

func newToken(cfg Config, bare *api.Client, log hclog.Logger) tokenSource {
	own := cfg.Consul.Credentials
	switch {
	case cfg.Token != "":
		return fixedToken{cfg.Token}
	case cfg.TokenPath != "":
		return fileToken{path: cfg.TokenPath}
	case own.Type == config.CredentialLogin:
		return &loginToken{cfg: cfg, login: own.Login, bare: bare, log: log}
	case own.Type == config.CredentialStatic && own.Static.TokenPath != "":
		return fileToken{path: own.Static.TokenPath}
	case own.Type == config.CredentialStatic:
		return fixedToken{own.Static.Token}
	default:
		return noToken{}
	}
}

type noToken struct{}

func (noToken) get(context.Context) (config.Secret, error) { return "", nil }
func (noToken) forget(config.Secret)                       {}
func (noToken) close(context.Context) error                { return nil }

type fixedToken struct{ token config.Secret }

func (f fixedToken) get(context.Context) (config.Secret, error) { return f.token, nil }
func (f fixedToken) forget(config.Secret)                       {}
func (f fixedToken) close(context.Context) error                { return nil }

// fileToken reads the file for each request: it is small, and then it cannot be
// out of date.
type fileToken struct{ path string }

func (f fileToken) get(context.Context) (config.Secret, error) {
	data, err := os.ReadFile(f.path)
	if err != nil {
		return "", fmt.Errorf("read consul token: %w", err)
	}
	token := strings.TrimSpace(string(data))
	if token == "" {
		return "", fmt.Errorf("read consul token: %s is empty", f.path)
	}
	return config.Secret(token), nil
}
func (f fileToken) forget(config.Secret)        {}
func (f fileToken) close(context.Context) error { return nil }

// loginToken logs in when there is no token, or none that lasts.
type loginToken struct {
	cfg   Config
	login config.LoginCredentials
	bare  *api.Client
	log   hclog.Logger

	mu      sync.Mutex
	current config.Secret
	renewAt time.Time // zero: it does not expire
}

func (l *loginToken) get(ctx context.Context) (config.Secret, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current != "" && (l.renewAt.IsZero() || time.Now().Before(l.renewAt)) {
		return l.current, nil
	}
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	bearer, err := os.ReadFile(l.login.BearerTokenPath)
	if err != nil {
		return "", fmt.Errorf("log in to consul: %w", err)
	}
	start := time.Now()
	got, _, err := l.bare.ACL().Login(&api.ACLLoginParams{
		AuthMethod: l.login.AuthMethod, BearerToken: strings.TrimSpace(string(bearer)), Meta: l.cfg.Meta,
	}, (&api.WriteOptions{Namespace: l.login.Namespace, Partition: l.login.Partition, Datacenter: l.login.Datacenter}).WithContext(ctx))
	if err != nil {
		return "", fmt.Errorf("log in to consul: auth method %s: %w", l.login.AuthMethod, err)
	}
	previous := l.current
	l.current, l.renewAt = config.Secret(got.SecretID), time.Time{}
	if got.ExpirationTime != nil {
		l.renewAt = start.Add(got.ExpirationTime.Sub(start) * 2 / 3)
	}
	l.log.Info("logged in to consul", "auth_method", l.login.AuthMethod, "accessor_id", got.AccessorID)
	if previous != "" {
		l.logout(ctx, previous)
	}
	return l.current, nil
}

// logout ends a token early. One that stays ends when it expires.
func (l *loginToken) logout(ctx context.Context, token config.Secret) {
	if _, err := l.bare.ACL().Logout((&api.WriteOptions{Token: token.Reveal()}).WithContext(ctx)); err != nil {
		l.log.Debug("an old token was not logged out", "error", err)
	}
}

func (l *loginToken) forget(token config.Secret) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current == token {
		l.log.Warn("consul does not know the token any more, logging in again")
		l.current = ""
	}
}

func (l *loginToken) close(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current == "" {
		return nil
	}
	_, err := l.bare.ACL().Logout((&api.WriteOptions{Token: l.current.Reveal()}).WithContext(ctx))
	l.current = ""
	if err != nil {
		return fmt.Errorf("log out of consul: %w", err)
	}
	return nil
}
