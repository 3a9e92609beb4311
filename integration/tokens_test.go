// SPDX-License-Identifier: MPL-2.0

package integration

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"podplane/integration/consultest"
	"podplane/integration/mesh"
)

// recovery is how long a dataplane may take to have its session again after a
// token or a file was changed under it.
const recovery = 5 * time.Second

// old is the age from which a token that no server knows is taken for lost. A
// younger one may have to be replicated yet.
const old = 2 * time.Second

// TestLostTokens takes the tokens of logins away while requests flow.
func TestLostTokens(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	m := newMesh(t, three)
	client := m.Consul.Client()
	from, to := startPair(ctx, t, m, "")
	unwatched, err := m.Start(ctx, mesh.PodSpec{
		Name: "unwatched", Upstreams: []string{canary}, Args: []string{"-server-watch-disabled"},
	})
	must(t, err, unwatched.WaitReady(ctx))
	pods := []*mesh.Pod{from, to, unwatched}
	requests := startLoad(t, from)

	for name, pod := range map[string]*mesh.Pod{"deleted": from, "deleted, no server watch": unwatched} {
		awaitOld(ctx, t, pod)
		lost := session(ctx, t, pod).TokenAccessor
		must(t, client.DeleteToken(ctx, lost))
		expectRecovery(ctx, t, m, name, pod, lost)
	}
	for range 3 { // more of them: TestSoakTokens
		expectReplaced(ctx, t, m, from)
	}

	// The bearer token in use has expired when a login needs it.
	awaitOld(ctx, t, from)
	expired, err := m.Consul.Bearer("web", -time.Hour)
	must(t, err, os.WriteFile(from.BearerPath(), []byte(expired), 0o600))
	lost := session(ctx, t, from).TokenAccessor
	must(t, client.DeleteToken(ctx, lost))
	expectLine(t, from, "waiting: for=\"a login")
	must(t, from.WriteBearer(time.Hour))
	expectRecovery(ctx, t, m, "bearer file rotated", from, lost)

	// With an auth method go all tokens that it gave out.
	for _, pod := range pods {
		awaitOld(ctx, t, pod)
	}
	accessors := make(map[*mesh.Pod]string)
	for _, pod := range pods {
		accessors[pod] = session(ctx, t, pod).TokenAccessor
	}
	method, err := m.Consul.JWTAuthMethod()
	must(t, err, client.DeleteAuthMethod(ctx, consultest.AuthMethod))
	must(t, client.CreateJWTAuthMethod(ctx, method))
	expectRecovery(ctx, t, m, "auth method recreated", from, accessors[from])
	for _, pod := range pods {
		within(t, recovery, "a new token of "+pod.Service.Name, hasToken(pod, accessors[pod]))
	}

	requests.expectNoFailure(t)
	for _, pod := range pods {
		expectStreamKept(ctx, t, pod)
	}
	expectTokens(ctx, t, client, len(pods))
	for _, pod := range pods {
		must(t, pod.Dataplane().Stop(patience))
	}
	expectTokens(ctx, t, client, 0)
}

// expectReplaced deletes a pod's token and waits until it has another.
func expectReplaced(ctx context.Context, t *testing.T, m *mesh.Mesh, pod *mesh.Pod) {
	t.Helper()
	awaitOld(ctx, t, pod)
	lost := session(ctx, t, pod).TokenAccessor
	must(t, m.Consul.Client().DeleteToken(ctx, lost))
	within(t, recovery, "a new token of "+pod.Service.Name, hasToken(pod, lost))
}

// awaitOld waits until the loss of a pod's token can be told from one that is
// too young to be known everywhere.
func awaitOld(ctx context.Context, t *testing.T, pod *mesh.Pod) {
	t.Helper()
	since := session(ctx, t, pod).TokenSince
	must(t, mesh.Until(ctx, func(context.Context) bool { return time.Since(since) > old }))
}

// hasToken tells whether a pod has a session with another token than that.
func hasToken(pod *mesh.Pod, lost string) func(context.Context) bool {
	return func(ctx context.Context) bool {
		var st struct {
			Connected bool   `json:"connected"`
			Accessor  string `json:"token_accessor"`
		}
		return pod.Status(ctx, "consul", &st) == nil && st.Connected && st.Accessor != "" && st.Accessor != lost
	}
}

// expectRecovery waits for another token and for a change that arrives with it:
// a stream whose token is gone stays open and brings nothing.
func expectRecovery(ctx context.Context, t *testing.T, m *mesh.Mesh, what string, pod *mesh.Pod, lost string) {
	t.Helper()
	start := time.Now()
	within(t, recovery, what+": a new token", hasToken(pod, lost))
	within(t, recovery, what+": a change arrives", has(pod, change(ctx, t, m.Consul.Client)))
	took := time.Since(start)
	t.Logf("%s: recovered after %s", what, took.Round(time.Millisecond))
	if late(t, took, recovery) {
		t.Errorf("%s: recovered after %s, later than %s", what, took, recovery)
	}
}

// expectTokens waits until so many tokens of the auth method are left in Consul.
func expectTokens(ctx context.Context, t *testing.T, client *consultest.Client, want int) {
	t.Helper()
	var tokens []consultest.Token
	var err error
	if mesh.Until(ctx, func(ctx context.Context) bool {
		tokens, err = client.AuthMethodTokens(ctx, consultest.AuthMethod)
		return err == nil && len(tokens) == want
	}) != nil {
		t.Errorf("%d tokens are left in Consul, not %d: %v", len(tokens), want, err)
	}
}

// TestRotatedFiles replaces every file that the session was told to read, while
// requests flow.
func TestRotatedFiles(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	options := three
	options.VerifyIncoming = true
	m := newMesh(t, options)
	client := m.Consul.Client()
	files := newFiles(t, m)
	first, err := client.CreateServiceToken(ctx, "web")
	must(t, err)
	files.write(t, "token", []byte(first.SecretID+"\n"))

	tls := []string{"-ca-certs", files.path("ca"), "-tls-cert", files.path("cert"), "-tls-key", files.path("key")}
	must(t,
		client.SetProtocol(ctx, "web", "http"),
		client.SetProtocol(ctx, "api", "http"),
		client.SetIntention(ctx, "web", "api", consultest.Allow))
	to, err := m.Start(ctx, mesh.PodSpec{Name: "api", Args: tls})
	must(t, err)
	from, err := m.Start(ctx, mesh.PodSpec{
		Name: "web", Upstreams: []string{"api", canary}, Args: tls,
		Credentials: []string{"-credential-type", "static", "-static-token-path", files.path("token")},
	})
	must(t, err, from.WaitReady(ctx), to.WaitReady(ctx))
	expectAnswer(ctx, t, from, "api")
	requests := startLoad(t, from)

	expectTaken(ctx, t, m, "static token", from, func() {
		second, err := client.CreateServiceToken(ctx, "web")
		must(t, err)
		files.write(t, "token", []byte(second.SecretID))
	})
	must(t, client.DeleteToken(ctx, first.AccessorID))
	expectTaken(ctx, t, m, "client certificate", from, func() { files.issue(t, m.Consul.CA()) })

	// A new authority takes over as one does: trusted by all before it is used,
	// and the old one until it is not.
	next, err := consultest.NewCA("the next authority")
	must(t, err)
	before := m.Consul.CA()
	expectTaken(ctx, t, m, "both authorities", from, func() {
		files.write(t, "ca", append(before.PEM(), next.PEM()...))
	})
	must(t, m.Consul.Reissue(ctx, next, before))
	expectTaken(ctx, t, m, "the next authority alone", from, func() {
		files.issue(t, next)
		files.write(t, "ca", next.PEM())
	})
	must(t, m.Consul.Reissue(ctx, next))

	// A file that does not load changes nothing.
	epoch := session(ctx, t, from).Epoch
	files.write(t, "ca", []byte("no certificate"))
	within(t, recovery, "the broken file is told of", func(ctx context.Context) bool {
		return session(ctx, t, from).ReloadError != ""
	})
	if st := session(ctx, t, from); st.Epoch != epoch || !st.Connected {
		t.Errorf("a broken file has changed the session: %+v", st)
	}
	files.write(t, "ca", next.PEM())
	within(t, recovery, "the mended file is told of", func(ctx context.Context) bool {
		return session(ctx, t, from).ReloadError == ""
	})
	server := serverOf(ctx, t, m.Consul, from)
	m.Consul.Kill(server)
	within(t, recovery, "another server with the new files", hasMoved(from, epoch))

	requests.expectNoFailure(t)
	expectStreamKept(ctx, t, from)
	expectStreamKept(ctx, t, to)
}

// expectTaken changes files and waits until the session uses them.
func expectTaken(ctx context.Context, t *testing.T, m *mesh.Mesh, what string, pod *mesh.Pod, change func()) {
	t.Helper()
	epoch := session(ctx, t, pod).Epoch
	change()
	start := time.Now()
	within(t, recovery, what+": in use", hasMoved(pod, epoch))
	t.Logf("%s: in use after %s", what, time.Since(start).Round(time.Millisecond))
	expectChange(ctx, t, m.Consul.Client, recovery, pod)
}

// files are what a session reads, in a folder of their own.
type files struct{ dir string }

func newFiles(t *testing.T, m *mesh.Mesh) files {
	t.Helper()
	f := files{t.TempDir()}
	f.write(t, "ca", m.Consul.CA().PEM())
	f.issue(t, m.Consul.CA())
	return f
}

func (f files) path(name string) string { return filepath.Join(f.dir, name) }

// write replaces a file, as tools that rotate them do.
func (f files) write(t *testing.T, name string, content []byte) {
	t.Helper()
	next := f.path(name) + ".next"
	must(t, os.WriteFile(next, content, 0o600), os.Rename(next, f.path(name)))
}

// issue replaces the client certificate and its key.
func (f files) issue(t *testing.T, ca *consultest.CA) {
	t.Helper()
	pair, err := ca.Issue("client")
	must(t, err)
	f.write(t, "cert", pair.Cert)
	f.write(t, "key", pair.Key)
}
