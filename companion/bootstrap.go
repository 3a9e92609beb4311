// SPDX-License-Identifier: MPL-2.0

package companion

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"podplane/companion/consulhttp"
	"podplane/config"
	"podplane/consulacl"
)

// bootstrapTimeout bounds bootstrap-acl.
const bootstrapTimeout = 2 * time.Minute

// BootstrapACL makes in Consul what sidecars and the companion need, and returns
// what it did, also beside an error.
func BootstrapACL(ctx context.Context, c *config.Companion, log hclog.Logger) ([]consulacl.Step, error) {
	ctx, cancel := context.WithTimeout(ctx, bootstrapTimeout)
	defer cancel()
	client, err := consulhttp.New(consulhttp.Config{
		Consul: c.Consul, Partition: c.Tenancy.Partition, Token: c.Bootstrap.Token, TokenPath: c.Bootstrap.TokenPath,
	}, log)
	if err != nil {
		return nil, err
	}
	authority, err := os.ReadFile(c.Bootstrap.KubernetesCAFile)
	if err != nil {
		return nil, fmt.Errorf("read the authority of the API server: %w", err)
	}
	reviewer, err := os.ReadFile(c.Bootstrap.ReviewerTokenPath)
	if err != nil {
		return nil, fmt.Errorf("read the reviewer's token: %w", err)
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
		KubernetesCA:   string(authority),
		ReviewerToken:  strings.TrimSpace(string(reviewer)),
		TokenCleanup:   c.Registrar.TokenCleanup,
		Tenancy: consulacl.Tenancy{
			Namespaces: t.Namespaces, Namespace: t.Destination, Mirror: t.Mirroring, Prefix: t.MirroringPrefix, Partition: t.Partition,
		},
	})
}
