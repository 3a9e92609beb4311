// SPDX-License-Identifier: MPL-2.0

package dataplane

import (
	"net/http"
	"syscall"
	"testing"
)

// TestServerIsLost: Envoy keeps its stream and the pod its readiness, and what
// comes after the loss arrives.
func TestServerIsLost(t *testing.T) {
	t.Parallel()
	c := (&fakeConsul{}).start(t)
	s := start(t, c)
	s.mustBeReady(t)
	pid := s.supervisor.PID()
	for range 2 {
		epoch := s.session.Status().Epoch
		c.stop()
		eventually(t, "the loss", func() bool { return !s.session.Status().Connected && !s.xds.Status().UpstreamConnected })
		if code, body := s.do(t, http.MethodGet, "/ready"); code != http.StatusOK || !s.xds.Status().EnvoyConnected {
			t.Errorf("without a server: %d %s", code, body)
		}
		c.serve(t)
		eventually(t, "the return", func() bool {
			return s.session.Status().Epoch > epoch && s.xds.Status().UpstreamConnected
		})
	}
	if st := s.supervisor.Status(); st.PID != pid || st.Incarnation != 1 {
		t.Errorf("envoy did not live through it: %+v", st)
	}
	s.terminate()
	s.mustEndCleanly(t)
}

// TestEnvoyIsRestartedWithoutAServer: the last configuration that Envoy accepted
// is enough for the next Envoy.
func TestEnvoyIsRestartedWithoutAServer(t *testing.T) {
	t.Parallel()
	c := (&fakeConsul{}).start(t)
	s := start(t, c)
	s.mustBeReady(t)
	c.stop()
	eventually(t, "the loss", func() bool { return !s.xds.Status().UpstreamConnected })
	if err := syscall.Kill(s.supervisor.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the next envoy", func() bool { return s.supervisor.Incarnation() == 2 })
	s.mustBeReady(t)
	s.terminate()
	s.mustEndCleanly(t)
}
