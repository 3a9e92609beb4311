// SPDX-License-Identifier: MPL-2.0

package companion

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"podplane/companion/consulhttp"
	"podplane/config"
	"podplane/consulacl"
)

const (
	// bootstrapTimeout bounds bootstrap-acl.
	bootstrapTimeout = 2 * time.Minute
	// filesTimeout bounds the wait for what it reads: the Secret of a token, for
	// instance, is there before Kubernetes has put the token into it.
	filesTimeout = time.Minute
	filesPause   = 250 * time.Millisecond
)

// BootstrapACL makes in Consul what sidecars and the companion need, and returns
// what it did, also beside an error.
func BootstrapACL(ctx context.Context, c *config.Companion, log hclog.Logger) ([]consulacl.Step, error) {
	ctx, cancel := context.WithTimeout(ctx, bootstrapTimeout)
	defer cancel()
	if log == nil {
		log = hclog.NewNullLogger()
	}
	files, err := bootstrapFiles(ctx, c, log)
	if err != nil {
		return nil, err
	}
	client, err := consulhttp.New(consulhttp.Config{
		Consul: c.Consul, Partition: c.Tenancy.Partition, Token: c.Bootstrap.Token, TokenPath: c.Bootstrap.TokenPath,
	}, log)
	if err != nil {
		return nil, err
	}
	t := c.Tenancy
	return consulacl.Bootstrap(ctx, consulacl.Config{
		Consul:         client.API,
		AuthMethod:     c.Bootstrap.AuthMethod,
		Policy:         c.Bootstrap.Policy,
		Role:           c.Bootstrap.Role,
		Namespace:      c.Namespace,
		ServiceAccount: c.Bootstrap.ServiceAccount,
		Selector:       c.Bootstrap.BindingSelector,
		MaxTokenTTL:    c.Bootstrap.MaxTokenTTL,
		KubernetesHost: c.Bootstrap.KubernetesHost,
		KubernetesCA:   files[authorityFile],
		ReviewerToken:  strings.TrimSpace(files[reviewerFile]),
		TokenCleanup:   c.Registrar.TokenCleanup,
		Tenancy: consulacl.Tenancy{
			Namespaces: t.Namespaces, Namespace: t.Destination, Mirror: t.Mirroring, Prefix: t.MirroringPrefix, Partition: t.Partition,
		},
	})
}

// The files of bootstrap-acl, as messages call them.
const (
	consulAuthorityFile = "the authority of the Consul servers"
	bootstrapTokenFile  = "the bootstrap token"
	authorityFile       = "the authority of the API server"
	reviewerFile        = "the reviewer's token"
)

// bootstrapFiles reads what bootstrap-acl is given as files. It waits for those
// that are not there yet, or empty.
func bootstrapFiles(ctx context.Context, c *config.Companion, log hclog.Logger) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, filesTimeout)
	defer cancel()
	start := time.Now()
	out := map[string]string{}
	for _, file := range []struct {
		what, path string
		needed     bool
	}{
		{consulAuthorityFile, c.Consul.TLS.CACertsPath, !c.Consul.TLS.Disabled && c.Consul.TLS.CACertsPath != ""},
		{bootstrapTokenFile, c.Bootstrap.TokenPath, c.Bootstrap.TokenPath != "" && c.Bootstrap.Token == ""},
		{authorityFile, c.Bootstrap.KubernetesCAFile, true},
		{reviewerFile, c.Bootstrap.ReviewerTokenPath, true},
	} {
		if !file.needed {
			continue
		}
		text, err := awaitFile(ctx, file.path, func(err error) { log.Info("waiting for a file", "what", file.what, "error", err) })
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, fmt.Errorf("read %s, for which was waited %s: %w", file.what, time.Since(start).Round(time.Second), err)
		case err != nil:
			return nil, fmt.Errorf("read %s: %w", file.what, err)
		}
		out[file.what] = text
	}
	return out, nil
}

// awaitFile reads a file. If it is missing or empty, that is said once, and it is
// looked for until ctx ends. Other errors are not waited for.
func awaitFile(ctx context.Context, path string, say func(error)) (string, error) {
	said := false
	for {
		data, err := os.ReadFile(path)
		if err == nil && strings.TrimSpace(string(data)) == "" {
			err = fmt.Errorf("%s is empty", path)
		} else if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return string(data), err
		}
		if !said {
			said = true
			say(err)
		}
		select {
		case <-ctx.Done():
			return "", err
		case <-time.After(filesPause):
		}
	}
}
