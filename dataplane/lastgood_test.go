// SPDX-License-Identifier: MPL-2.0

package dataplane

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestStartsAsTheLastTime: a container that restarts while no server answers
// serves what the one before it was given.
func TestStartsAsTheLastTime(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "state")
	c := (&fakeConsul{}).start(t)
	before := start(t, c, "-xds-cache="+folder)
	before.mustBeReady(t)
	before.terminate()
	before.mustEndCleanly(t)
	c.stop()

	after := start(t, c, "-xds-cache="+folder)
	after.mustBeReady(t)
	if st := after.session.Status(); st.Connected {
		t.Errorf("there is a server: %+v", st)
	}
	epoch := after.session.Status().Epoch
	c.serve(t)
	eventually(t, "the server's return", func() bool { return after.session.Status().Epoch > epoch && after.xds.Status().UpstreamConnected })
	after.terminate()
	after.mustEndCleanly(t)

	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) != 2 {
		t.Fatalf("saved: %v, %v", entries, err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", e.Name(), info.Mode(), err)
		}
	}
}

// TestRefusalAfterAStartAsTheLastTime: Envoy is LIVE by what was saved, so that a
// server that comes back and does not know the token must not end it.
func TestRefusalAfterAStartAsTheLastTime(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	c := (&fakeConsul{token: "t"}).start(t)
	args := []string{"-xds-cache=" + folder, "-credential-type=static", "-static-token=t"}
	before := start(t, c, args...)
	before.mustBeReady(t)
	before.terminate()
	before.mustEndCleanly(t)
	c.stop()

	after := start(t, c, args...)
	after.mustBeReady(t)
	c.token = "another"
	c.serve(t)
	eventually(t, "refusals", func() bool {
		refused := after.session.Status().Refused
		return refused != nil && refused.Count > 2*maxRefusals
	})
	after.mustBeReady(t)
	c.stop()
	c.token = "t"
	c.serve(t)
	eventually(t, "the token's return", func() bool { return after.session.Status().Connected })
	after.terminate()
	after.mustEndCleanly(t)
}

// TestNothingSavedIsWaitedFor: without servers and without a copy of its own, a
// start waits; a copy of another proxy is none.
func TestNothingSavedIsWaitedFor(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	c := (&fakeConsul{}).start(t)
	other := start(t, c, "-xds-cache="+folder, "-proxy-id=other")
	other.mustBeReady(t)
	other.terminate()
	other.mustEndCleanly(t)
	c.stop()
	s := start(t, c, "-xds-cache="+folder)
	eventually(t, "it waits", func() bool { return strings.Contains(s.log.String(), "waiting") })
	c.serve(t)
	s.mustBeReady(t)
	if strings.Contains(s.log.String(), "as the last time") {
		t.Error("started with another proxy's copy")
	}
	s.terminate()
	s.mustEndCleanly(t)
}

func TestFolderForStateCannotBe(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := prepare(t, (&fakeConsul{}).start(t), "-xds-cache="+filepath.Join(file, "folder"))
	if err == nil || ExitCode(err) != ExitConfig || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v", err)
	}
}
