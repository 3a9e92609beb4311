// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"strings"
	"testing"
)

// TestAccess: the server and the token of the moment, and nothing while there is
// no server.
func TestAccess(t *testing.T) {
	t.Parallel()
	c := newFakeConsul(t, withACLs)
	c.addToken("secret-1")
	cfg := plain(c)
	cfg.Credentials = Credentials{Type: CredentialStatic, StaticToken: "secret-1"}
	idle, err := New(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := idle.Access(); err == nil || a.Token != "" {
		t.Errorf("before Run there is %v, %v", a.Host, err)
	}
	r := start(t, cfg)
	r.mustBeReady(t)
	a, err := r.Access()
	if err != nil || a.Host != "127.0.0.1" || a.Token != "secret-1" || a.TLS != nil || a.Epoch != r.Status().Epoch {
		t.Errorf("got %+v, %v", a, err)
	}
	if got := r.Redact("no rule for secret-1"); strings.Contains(got, "secret-1") {
		t.Errorf("a secret is left in %q", got)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Access(); err == nil {
		t.Error("there is access after the end")
	}
}
