// SPDX-License-Identifier: MPL-2.0

package dataplane

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"podplane/lifecycle"
)

// statusDocument is /status as its readers see it.
type statusDocument struct {
	Lifecycle struct{ State string }
	Readiness struct{ Ready bool }
	Consul    struct {
		Connected     bool
		Server        string
		TokenAccessor string `json:"token_accessor"`
	}
	XDS struct {
		EnvoyConnected bool `json:"envoy_connected"`
		Types          map[string]any
	}
	Envoy struct {
		State        string
		PID          int
		Version      string
		ServerState  string `json:"server_state"`
		AdminError   string `json:"admin_error"`
		Listeners    []struct{ Name string }
		Clusters     []struct{ Name string }
		Certificates []struct{ Serial string }
	}
}

func (s *sidecar) status(t *testing.T) (statusDocument, string) {
	t.Helper()
	code, body := s.do(t, http.MethodGet, "/status")
	var document statusDocument
	if err := json.Unmarshal([]byte(body), &document); err != nil || code != http.StatusOK {
		t.Fatalf("/status: %d (%v) %s", code, err, body)
	}
	return document, body
}

func TestStatus(t *testing.T) {
	t.Parallel()
	c := (&fakeConsul{token: "secret"}).start(t)
	s := start(t, c, "-credential-type=login", "-login-auth-method=k8s", "-login-bearer-token=bearer")
	s.mustBeReady(t)
	got, body := s.status(t)
	if got.Lifecycle.State != "running" || !got.Readiness.Ready || !got.Consul.Connected ||
		!strings.HasPrefix(got.Consul.Server, c.address+":") || got.Consul.TokenAccessor != "accessor-1" ||
		!got.XDS.EnvoyConnected || len(got.XDS.Types) != 2 {
		t.Errorf("got %s", body)
	}
	e := got.Envoy
	if e.State != "live" || e.PID != s.supervisor.PID() || e.ServerState != "LIVE" || !strings.Contains(e.Version, "1.34.1-fake") ||
		e.AdminError != "" || len(e.Listeners) != 1 || len(e.Clusters) != 1 || len(e.Certificates) != 1 {
		t.Errorf("envoy: %+v", e)
	}
}

func TestStatusWithoutEnvoy(t *testing.T) {
	t.Parallel()
	s := start(t, &fakeConsul{address: "127.0.0.1", port: 1})
	got, _ := s.status(t)
	if got.Envoy.State != "idle" || got.Envoy.PID != 0 || got.Envoy.AdminError != "" || got.Consul.Connected {
		t.Errorf("got %+v", got)
	}
}

// TestStatusWithADeafEnvoy is an Envoy that was started and does not serve its
// admin API: here, as it is still on the way to it.
func TestStatusWithADeafEnvoy(t *testing.T) {
	t.Parallel()
	s := start(t, (*fakeConsul)(nil).start(t), "--", fakeFlag, "deaf")
	eventually(t, "an envoy", func() bool { return s.supervisor.PID() != 0 })
	got, body := s.status(t)
	if got.Envoy.PID == 0 || !strings.Contains(got.Envoy.AdminError, "connection refused") {
		t.Errorf("got %s", body)
	}
	s.terminate()
	s.mustEndCleanly(t)
}

// TestNothingSecretIsShown puts secrets wherever there is a place for one, also
// into what servers and Envoy say, and looks for them wherever podplane says
// anything.
func TestNothingSecretIsShown(t *testing.T) {
	t.Parallel()
	const bearer, token = "bearer-7f3a9c", "token-5e1b2d"
	bearerFile := filepath.Join(t.TempDir(), "bearer")
	if err := os.WriteFile(bearerFile, []byte(bearer+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	login := []string{"-credential-type=login", "-login-auth-method=k8s", "-login-meta=pod=web"}
	for name, tc := range map[string]struct {
		consul *fakeConsul
		args   []string
		reach  func(*testing.T, *sidecar, *fakeConsul)
	}{
		"login": {
			consul: &fakeConsul{token: token},
			args:   append(login, "-login-bearer-token="+bearer),
		},
		"login with a file": {
			consul: &fakeConsul{token: token},
			args:   append(login, "-login-bearer-token-path="+bearerFile),
		},
		"static token": {
			consul: &fakeConsul{token: token},
			args:   []string{"-credential-type=static", "-static-token=" + token},
		},
		"static token that is repeated by the server": {
			consul: &fakeConsul{token: token, bootstrap: refusing(codes.Unavailable, "no reader for "+token)},
			args:   []string{"-credential-type=static", "-static-token=" + token},
			reach:  seen(callBootstrap),
		},
		"static token that is repeated on the xds stream": {
			consul: &fakeConsul{token: token, ads: refusing(codes.Unavailable, "no rule for "+token)},
			args:   []string{"-credential-type=static", "-static-token=" + token},
			reach: func(t *testing.T, s *sidecar, _ *fakeConsul) {
				t.Helper()
				eventually(t, "the error of the stream", func() bool { return s.xds.Status().LastError != "" })
			},
		},
		"bearer token that is repeated by the server": {
			consul: &fakeConsul{token: token, login: refusing(codes.Unavailable, "cannot verify "+bearer)},
			args:   append(login, "-login-bearer-token="+bearer),
			reach:  pendingWith("consul session", "cannot verify"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := tc.consul.start(t)
			s := start(t, c, append(tc.args, "-xds-bind-addr=127.0.0.1", "-dump-envoy-config-on-exit")...)
			if tc.reach == nil {
				s.mustBeReady(t)
			} else {
				tc.reach(t, s, c)
			}
			said := map[string]string{}
			_, said["/status"] = s.do(t, http.MethodGet, "/status")
			_, said["the page"] = s.do(t, http.MethodGet, "/status", "Accept", "text/html")
			_, said["/ready"] = s.do(t, http.MethodGet, "/ready")
			_, said["metrics"] = request(t, http.MethodGet, "http://"+s.metrics.Addr().String()+"/stats/prometheus")
			s.terminate()
			s.mustEndCleanly(t)
			said["the log"] = s.log.String()
			said["standard output"] = s.stdout.String()
			mention(t, said["the page"], "<html")
			for _, secret := range []string{bearer, token, s.xdsSecret} {
				if secret == "" {
					t.Error("a secret that is none")
				}
				for where, text := range said {
					if strings.Contains(text, secret) {
						t.Errorf("%s is in %s", secret, where)
					}
				}
			}
		})
	}
}

// TestSectionsAreComplete: what operators look for has a place.
func TestSectionsAreComplete(t *testing.T) {
	t.Parallel()
	s, err := prepare(t, &fakeConsul{address: "127.0.0.1", port: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var names []string
	for _, section := range s.sections() {
		names = append(names, section.Name)
		if content, err := section.Get(t.Context()); err != nil || content == nil {
			t.Errorf("%s: %v, %v", section.Name, content, err)
		}
	}
	if got := strings.Join(names, " "); got != "podplane consul metrics xds envoy" {
		t.Errorf("sections: %s", got)
	}
	if st := s.drainer.State(); st.State != lifecycle.Running {
		t.Errorf("state %s", st.State)
	}
}
