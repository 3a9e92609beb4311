// SPDX-License-Identifier: MPL-2.0

package companion

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"podplane/config"
)

// TestBootstrapACLWithoutFiles ends with the name of what is missing.
func TestBootstrapACLWithoutFiles(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "missing")
	for want, change := range map[string]func(*config.Companion){
		"read the authority of the Consul servers": func(c *config.Companion) { c.Consul.TLS = config.ConsulTLS{CACertsPath: missing} },
		"read the bootstrap token":                 func(c *config.Companion) { c.Bootstrap.TokenPath = missing },
		"read the authority of the API server":     func(c *config.Companion) { c.Bootstrap.KubernetesCAFile = missing },
		"read the reviewer's token, for which was waited 1m0s": func(c *config.Companion) {
			c.Bootstrap.ReviewerTokenPath = missing
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := options("").Config
			c.Bootstrap.KubernetesCAFile, c.Bootstrap.ReviewerTokenPath = file, file
			change(c)
			start := time.Now()
			if _, err := BootstrapACL(t.Context(), c, hclog.NewNullLogger()); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), missing) {
				t.Errorf("got %v, not %s", err, want)
			}
			if took := time.Since(start); took < filesTimeout || took > filesTimeout+filesPause {
				t.Errorf("%s: it ended after %s", want, took)
			}
		})
	}
	c := options("").Config
	c.Bootstrap.KubernetesCAFile, c.Bootstrap.ReviewerTokenPath, c.Consul.HTTPPort = file, file, 1
	if _, err := BootstrapACL(t.Context(), c, nil); err == nil || !strings.Contains(err.Error(), "bootstrap acls") {
		t.Error(err)
	}
}

// TestFilesThatComeLater are waited for, also while they are empty, and that is
// said once.
func TestFilesThatComeLater(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		c := options("").Config
		c.Bootstrap.KubernetesCAFile, c.Bootstrap.ReviewerTokenPath = path, path
		done := make(chan error, 1)
		go func() {
			files, err := bootstrapFiles(t.Context(), c, hclog.New(&hclog.LoggerOptions{Output: &log}))
			if err == nil && (files[authorityFile] != "late\n" || files[reviewerFile] != "late\n") {
				t.Errorf("read %q", files)
			}
			done <- err
		}()
		for _, text := range []string{"", " \n", "late\n"} {
			<-time.After(10 * time.Second)
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := strings.Count(log.String(), "waiting for a file"); n != 1 {
			t.Errorf("it is logged %d times: %s", n, log.String())
		}
	})
	// What is there and cannot be read does not get better, and nobody says that it was waited for.
	if _, err := awaitFile(t.Context(), t.TempDir(), func(error) { t.Error("it is waited for") }); err == nil {
		t.Error("a folder is a file")
	}
	c := options("").Config
	c.Bootstrap.KubernetesCAFile = t.TempDir()
	if _, err := bootstrapFiles(t.Context(), c, hclog.NewNullLogger()); err == nil || strings.Contains(err.Error(), "waited") {
		t.Errorf("got %v", err)
	}
}
