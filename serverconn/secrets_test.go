// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestSecrets(t *testing.T) {
	t.Parallel()
	var s secrets
	s.learn("")
	s.learn("kept")
	for n := range secretsKept - 1 {
		s.learn(fmt.Sprintf("<%d>", n))
	}
	s.learn("kept") // the one learned last again
	s.learn("kept-longer")
	if got := s.redact("kept-longer, kept, <0>, <1>, other"); got != "[secret], [secret], <0>, [secret], other" {
		t.Errorf("redacted: %s", got)
	}
	if n := len(s.known); n != secretsKept {
		t.Errorf("%d are kept", n)
	}
}

// TestSecretsThatCameLater: what files hold after a change, and what logins give,
// is kept out of words as well, even if it never comes into use.
func TestSecretsThatCameLater(t *testing.T) {
	t.Parallel()
	t.Run("bearer token and tokens", func(t *testing.T) {
		t.Parallel()
		c := newFakeConsul(t, withACLs)
		c.bearers["first-bearer"] = true
		cfg, file := withLogin(t, c, "first-bearer")
		r := start(t, cfg)
		r.mustBeReady(t)
		c.do(func() {
			c.loginErr = status.Error(codes.PermissionDenied, "second-bearer is not valid, first-bearer and secret-1 were")
		})
		writeFile(t, file, "second-bearer")
		c.do(func() { c.bearers["second-bearer"] = true })
		r.RenewToken("a test")
		eventually(t, "the server's words", func() bool { return strings.Contains(r.Status().LastError, "is not valid") })
		mustNotTell(t, r, "first-bearer", "second-bearer", "secret-1")
	})
	t.Run("static token", func(t *testing.T) {
		t.Parallel()
		c := newFakeConsul(t, withACLs)
		c.addToken("first-static")
		file := filepath.Join(t.TempDir(), "token")
		writeFile(t, file, "first-static")
		cfg := plain(c)
		cfg.Credentials = Credentials{Type: CredentialStatic, StaticTokenPath: file}
		r := start(t, cfg, func(tune *tuning) { tune.probeInterval = time.Hour })
		r.mustBeReady(t)
		c.do(func() { c.unknown = "second-static is not known, first-static was" })
		writeFile(t, file, "second-static")
		eventually(t, "the server's words", func() bool { return strings.Contains(r.Status().LastError, "is not known") })
		mustNotTell(t, r, "first-static", "second-static")
	})
}

// mustNotTell checks the log and the status for secrets.
func mustNotTell(t *testing.T, r *running, secrets ...string) {
	t.Helper()
	told := fmt.Sprintf("%+v\n%s", r.Status(), r.log.String())
	for _, secret := range secrets {
		if strings.Contains(told, secret) {
			t.Errorf("%s is told in: %s", secret, told)
		}
	}
}
