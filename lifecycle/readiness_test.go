// SPDX-License-Identifier: MPL-2.0

package lifecycle

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestReadiness(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &Readiness{}
		if !r.State().Ready {
			t.Error("an empty set is not ready")
		}
		envoy, consul := r.Add("envoy live"), r.Add("consul session")
		began := time.Now()
		time.Sleep(time.Second)
		consul.Fail(errors.New("connection refused"))
		s := r.State()
		if s.Ready || len(s.Pending) != 2 || s.Pending[0].Task != "consul session" ||
			s.Pending[0].LastError != "connection refused" || !s.Pending[0].Since.Equal(began) {
			t.Errorf("state is %+v", s)
		}
		envoy.Done()
		consul.Done()
		if s := r.State(); !s.Ready || s.Pending != nil {
			t.Errorf("state is %+v", s)
		}
		time.Sleep(time.Second)
		envoy.Fail(nil)
		if s := r.State(); s.Ready || !s.Pending[0].Since.Equal(began.Add(2*time.Second)) || s.Pending[0].LastError != "" {
			t.Errorf("state is %+v", s)
		}
		envoy.Done()
		r.Terminate("signal: terminated")
		r.Terminate("http")
		if s := r.State(); s.Ready || s.Terminating != "signal: terminated" {
			t.Errorf("state is %+v", s)
		}
	})
}

func TestShutdownEndsReadiness(t *testing.T) {
	t.Parallel()
	r := &Readiness{}
	d, err := NewDrainer(DrainConfig{Proxy: newFakeProxy(), Readiness: r}, nil)
	if err != nil {
		t.Fatal(err)
	}
	d.Shutdown(Request{By: BySignal})
	if s := r.State(); s.Ready || s.Terminating != "signal" {
		t.Errorf("state is %+v", s)
	}
	select {
	case <-d.Asked():
	default:
		t.Error("Asked is open")
	}
}
