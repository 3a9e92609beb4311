// SPDX-License-Identifier: MPL-2.0

package consultest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Token is an ACL token.
type Token struct {
	AccessorID     string
	SecretID       string
	ExpirationTime *time.Time
}

// CreateJWTAuthMethod creates the auth method and its binding rule.
func (c *Client) CreateJWTAuthMethod(ctx context.Context, m JWTAuthMethod) error {
	method := map[string]any{
		"Name": m.Name,
		"Type": "jwt",
		"Config": map[string]any{
			"JWTValidationPubKeys": []string{string(m.PublicKey)},
			"JWTSupportedAlgs":     []string{"ES256"},
			"BoundIssuer":          jwtIssuer,
			"BoundAudiences":       []string{jwtAudience},
			"ClaimMappings":        map[string]string{jwtServiceClaim: "service"},
		},
	}
	if m.TokenTTL > 0 {
		method["MaxTokenTTL"] = m.TokenTTL.String()
	}
	if err := c.Put(ctx, "/v1/acl/auth-method", method); err != nil {
		return fmt.Errorf("create auth method: %w", err)
	}
	rule := map[string]any{"AuthMethod": m.Name, "BindType": "service", "BindName": "${value.service}"}
	if err := c.Put(ctx, "/v1/acl/binding-rule", rule); err != nil {
		return fmt.Errorf("create binding rule: %w", err)
	}
	return nil
}

// DeleteAuthMethod deletes an auth method, and with it its binding rules and every token it gave out.
func (c *Client) DeleteAuthMethod(ctx context.Context, name string) error {
	return c.Delete(ctx, "/v1/acl/auth-method/"+url.PathEscape(name))
}

// Login exchanges a bearer token for an ACL token.
func (c *Client) Login(ctx context.Context, authMethod, bearer string) (Token, error) {
	var token Token
	in := map[string]any{"AuthMethod": authMethod, "BearerToken": bearer}
	err := c.Do(ctx, http.MethodPost, "/v1/acl/login", in, &token)
	return token, err
}

// Logout deletes the client's own token, which must come from a login.
func (c *Client) Logout(ctx context.Context) error {
	return c.Do(ctx, http.MethodPost, "/v1/acl/logout", nil, nil)
}

// CreateServiceToken creates a token with the identity of a service, which is what its dataplane needs.
func (c *Client) CreateServiceToken(ctx context.Context, service string) (Token, error) {
	var token Token
	in := map[string]any{"ServiceIdentities": []map[string]string{{"ServiceName": service}}}
	err := c.Do(ctx, http.MethodPut, "/v1/acl/token", in, &token)
	return token, err
}

// DeleteToken deletes a token by its accessor.
func (c *Client) DeleteToken(ctx context.Context, accessor string) error {
	return c.Delete(ctx, "/v1/acl/token/"+url.PathEscape(accessor))
}

// AuthMethodTokens lists the tokens that an auth method gave out and that still exist.
func (c *Client) AuthMethodTokens(ctx context.Context, authMethod string) ([]Token, error) {
	var tokens []Token
	err := c.Get(ctx, "/v1/acl/tokens?authmethod="+url.QueryEscape(authMethod), &tokens)
	return tokens, err
}

// newUUID makes a random (version 4) UUID, the form that Consul demands of a token's secret.
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
