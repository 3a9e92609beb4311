// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestNew(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty")
	writeFile(t, empty, " \n")
	odd := filepath.Join(t.TempDir(), "odd")
	writeFile(t, odd, "a\nb")
	login := func(l LoginConfig) Config {
		return Config{Addresses: "a", Credentials: Credentials{Type: CredentialLogin, Login: l}}
	}
	cases := map[string]struct {
		cfg  Config
		errs []string // parts of the error, all of them
	}{
		"least":              {cfg: Config{Addresses: "consul.example"}},
		"nothing":            {errs: []string{"addresses of Consul servers are missing"}},
		"no command":         {cfg: Config{Addresses: "exec= "}, errs: []string{"names no command"}},
		"no name":            {cfg: Config{Addresses: "exec=x"}, errs: []string{"set the TLS server name"}},
		"everything wrong":   {cfg: Config{GRPCPort: 70000, MaxRefusals: -1, TLS: TLSConfig{CertFile: "c"}, Credentials: Credentials{Type: "magic"}}, errs: []string{"addresses", "70000", "refusals", `"c"`, "magic"}},
		"lone key":           {cfg: Config{Addresses: "a", TLS: TLSConfig{KeyFile: "k"}}, errs: []string{"belong together"}},
		"no static token":    {cfg: Config{Addresses: "a", Credentials: Credentials{Type: CredentialStatic}}, errs: []string{"need a token"}},
		"no token file":      {cfg: Config{Addresses: "a", Credentials: Credentials{Type: CredentialStatic, StaticTokenPath: "missing.token"}}, errs: []string{"static token file", "missing.token"}},
		"no login":           {cfg: login(LoginConfig{}), errs: []string{"auth method", "bearer token"}},
		"login":              {cfg: login(LoginConfig{AuthMethod: "m", BearerToken: "b"})},
		"empty bearer file":  {cfg: login(LoginConfig{AuthMethod: "m", BearerTokenPath: empty}), errs: []string{empty + " is empty"}},
		"odd bearer file":    {cfg: login(LoginConfig{AuthMethod: "m", BearerTokenPath: odd}), errs: []string{odd}},
		"files, all at once": {cfg: Config{Addresses: "a", TLS: TLSConfig{CAPath: "missing.ca"}, Credentials: Credentials{Type: CredentialStatic, StaticTokenPath: "missing.token"}}, errs: []string{"missing.ca", "missing.token"}},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := New(test.cfg, nil)
			if (err != nil) != (len(test.errs) > 0) {
				t.Fatalf("error %v", err)
			}
			for _, part := range test.errs {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q lacks %q", err, part)
				}
			}
		})
	}
}

func TestNewWithTakenMetrics(t *testing.T) {
	t.Parallel()
	cfg := Config{Addresses: "a", Registerer: prometheus.NewRegistry()}
	if _, err := New(cfg, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := New(cfg, nil); err == nil {
		t.Error("metrics registered twice")
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		cfg                Config
		serverName, source string
	}{
		"name":           {Config{Addresses: "consul.example"}, "consul.example", "consul.example"},
		"explicit":       {Config{Addresses: "10.0.0.1", TLS: TLSConfig{ServerName: "n"}}, "n", "10.0.0.1"},
		"command":        {Config{Addresses: "exec=discover -q addrs secret_key=x"}, "", "exec=discover"},
		"command's name": {Config{Addresses: "exec=x", TLS: TLSConfig{ServerName: "n"}}, "n", "exec=x"},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := test.cfg.withDefaults()
			if got.GRPCPort != DefaultGRPCPort || got.TLS.ServerName != test.serverName || got.serverSource() != test.source {
				t.Errorf("%+v, source %s", got, got.serverSource())
			}
		})
	}
}
