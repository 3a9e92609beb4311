// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
)

// inlineListener is a listener that waits for nothing.
func inlineListener(name string) string {
	return httpListener(name, `"route_config":{"name":"r","virtual_hosts":[{"name":"v","domains":["*"],"routes":[`+okRoute+`]}]}`, "", "")
}

func TestNobodyIsAcceptedBeforeTheWorkersStart(t *testing.T) {
	t.Parallel()
	e := newIdleEngine(t)
	setListener(t, e, inlineListener("early"))
	early := listenAddr(t, e, "early")
	for range 2 { // also after an update in place
		if _, err := net.Dial("tcp", early); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("dial: %v, want that it is refused", err)
		}
		setListener(t, e, strings.Replace(inlineListener("early"), `"prefix":"/"`, `"prefix":"/v2"`, 1))
	}
	if l := e.Listeners(); len(l) != 1 || l[0].Accepting || l[0].Warming {
		t.Errorf("listeners %+v, want one that is active and does not accept", l)
	}
	e.StartWorkers()
	setListener(t, e, inlineListener("late"))
	for name, want := range map[string]int{"early": http.StatusNotFound, "late": http.StatusOK} {
		resp, err := http.Get("http://" + listenAddr(t, e, name) + "/v1")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", name, resp.StatusCode, want)
		}
	}
}

// TestListenerLostBeforeTheWorkersStart has somebody listen between the two steps, which SO_REUSEADDR allows.
func TestListenerLostBeforeTheWorkersStart(t *testing.T) {
	t.Parallel()
	e := newIdleEngine(t)
	setListener(t, e, inlineListener("lost"))
	other, err := net.Listen("tcp", listenAddr(t, e, "lost"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	e.StartWorkers()
	if l := e.Listeners(); len(l) != 0 {
		t.Errorf("listeners %+v, want none", l)
	}
	// Its name is free again.
	if err := e.UpdateListener(parse(t, &listenerv3.Listener{}, inlineListener("lost"))); err != nil {
		t.Error(err)
	}
}

func TestDrainBeforeTheWorkersStart(t *testing.T) {
	t.Parallel()
	e := newIdleEngine(t)
	setListener(t, e, inlineListener("in"))
	addr := listenAddr(t, e, "in")
	e.DrainListeners(false, false)
	e.StartWorkers()
	if _, err := net.Dial("tcp", addr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial: %v, want that it is refused", err)
	}
}
