// SPDX-License-Identifier: MPL-2.0

package catalog

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"podplane/consulacl"
	"podplane/integration/consultest"
)

// tokenReviews answers what Consul's auth method of type kubernetes asks an API
// server: who is it whose bearer token is "<namespace>/<service account>".
func tokenReviews(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/tokenreviews") {
			var review struct {
				Spec struct{ Token string }
			}
			_ = json.NewDecoder(r.Body).Decode(&review)
			claims, _ := base64.RawURLEncoding.DecodeString(strings.Split(review.Spec.Token, ".")[1])
			var who struct{ Sub string }
			_ = json.Unmarshal(claims, &who)
			namespace, name, _ := strings.Cut(who.Sub, "/")
			w.WriteHeader(http.StatusCreated)
			fmt.Fprintf(w, `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","status":{"authenticated":true,"user":{
				"username":"system:serviceaccount:%s:%s","uid":"uid","groups":["system:serviceaccounts"]}}}`, namespace, name)
			return
		}
		name := path.Base(r.URL.Path)
		fmt.Fprintf(w, `{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":%q,"namespace":%q,"uid":"uid"}}`,
			name, path.Base(path.Dir(path.Dir(r.URL.Path))))
	}))
	t.Cleanup(server.Close)
	return server
}

// unsigned is a JWT that nobody signed: Consul leaves judging it to the API server.
func unsigned(subject string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + encode(fmt.Appendf(nil, `{"sub":%q}`, subject)) + "." + encode([]byte("sig"))
}

// TestBootstrapACL logs in to what bootstrap-acl made in a real Consul.
func TestBootstrapACL(t *testing.T) {
	t.Parallel()
	cluster := consultest.New(t, consultest.Options{ACL: true})
	kube := tokenReviews(t)
	client := func(token string) *api.Client {
		c, err := api.NewClient(&api.Config{Address: cluster.HTTPAddr(0), Token: token, HttpClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	cfg := consulacl.Config{
		Consul: client(cluster.Token()), AuthMethod: "podplane", Policy: "podplane-injector", Role: "podplane-injector",
		Namespace: "podplane-system", ServiceAccount: "podplane-injector", Selector: "serviceaccount.name!=default",
		MaxTokenTTL: time.Hour, KubernetesHost: kube.URL, ReviewerToken: unsigned("podplane-system/reviewer"), TokenCleanup: true,
		KubernetesCA: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: kube.Certificate().Raw})),
	}
	bootstrap := func(want string) []consulacl.Step {
		t.Helper()
		steps, err := consulacl.Bootstrap(t.Context(), cfg)
		if err != nil || len(steps) != 5 {
			t.Fatalf("%v: %v", steps, err)
		}
		if at := slices.IndexFunc(steps, func(s consulacl.Step) bool { return want != "" && !strings.HasSuffix(s.String(), want) }); at >= 0 {
			t.Errorf("%s, not %s", steps[at], want)
		}
		return steps
	}
	bootstrap(": created")
	bootstrap(": unchanged")

	method, _, err := cfg.Consul.ACL().AuthMethodRead("podplane", nil)
	if err != nil || method == nil {
		t.Fatal(err)
	}
	method.MaxTokenTTL = 2 * time.Hour
	if _, _, err := cfg.Consul.ACL().AuthMethodUpdate(method, nil); err != nil {
		t.Fatal(err)
	}
	if steps := bootstrap(""); steps[2].String() != "auth method podplane: repaired max token TTL" {
		t.Errorf("got %v", steps)
	}
	bootstrap(": unchanged")

	login := func(account string) (*api.ACLToken, error) {
		token, _, err := client("").ACL().Login(&api.ACLLoginParams{AuthMethod: "podplane", BearerToken: unsigned(account)}, nil)
		return token, err
	}
	service, err := login("default/static-server")
	if err != nil {
		t.Fatal(err)
	}
	if len(service.ServiceIdentities) != 1 || service.ServiceIdentities[0].ServiceName != "static-server" || len(service.Roles) != 0 {
		t.Errorf("the pod's token is %+v", service)
	}
	if service.ExpirationTime == nil || time.Until(*service.ExpirationTime) > time.Hour {
		t.Errorf("the pod's token ends at %v", service.ExpirationTime)
	}
	own, err := login("podplane-system/podplane-injector")
	if err != nil {
		t.Fatal(err)
	}
	if len(own.ServiceIdentities) != 0 || len(own.Roles) != 1 || own.Roles[0].Name != "podplane-injector" {
		t.Errorf("the companion's token is %+v", own)
	}
	if _, err := login("default/default"); err == nil {
		t.Error("the default service account could log in")
	}
	// The same name elsewhere is somebody else.
	if other, err := login("other/podplane-injector"); err != nil || len(other.Roles) != 0 {
		t.Errorf("a stranger got %+v, %v", other, err)
	}

	registration := &api.CatalogRegistration{
		Node: "node-1-virtual", Address: "10.0.0.1", Service: &api.AgentService{ID: "a", Service: "static-server", Port: 80},
	}
	if _, err := client(own.SecretID).Catalog().Register(registration, nil); err != nil {
		t.Errorf("the companion cannot register: %v", err)
	}
	if _, err := client(own.SecretID).ACL().TokenDelete(service.AccessorID, nil); err != nil {
		t.Errorf("the companion cannot clean up tokens: %v", err)
	}
	var status api.StatusError
	if _, err := client(own.SecretID).KV().Put(&api.KVPair{Key: "a"}, nil); !errors.As(err, &status) && (err == nil || !strings.Contains(err.Error(), "403")) {
		t.Errorf("the companion may do more than it needs: %v", err)
	}

	// Without clean-up there is no right to manage ACLs.
	cfg.TokenCleanup = false
	if steps := bootstrap(""); steps[0].String() != "policy podplane-injector: repaired rules" {
		t.Errorf("got %v", steps)
	}
	if _, _, err := client(own.SecretID).ACL().TokenList(nil); err == nil {
		t.Error("the companion may still list tokens")
	}
}
