// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// keepAlive is a client connection that makes one request after another.
type keepAlive struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

func newKeepAlive(t testing.TB, base string) *keepAlive {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return &keepAlive{t: t, conn: c, r: bufio.NewReader(c)}
}

// get makes one request and says whether the server wants the connection closed.
func (k *keepAlive) get() (closing bool) {
	k.t.Helper()
	if _, err := io.WriteString(k.conn, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
		k.t.Fatal(err)
	}
	resp, err := http.ReadResponse(k.r, nil)
	if err != nil {
		k.t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return resp.Close
}

// closed waits until the server has closed the connection.
func (k *keepAlive) closed() bool {
	_, err := k.r.ReadByte()
	return err == io.EOF
}

const okRoute = `{"match":{"prefix":"/"},"direct_response":{"status":200}}`

func TestGracefulDrain(t *testing.T) {
	t.Parallel()
	f := newFront(t, okRoute, "", "", func(c *Config) { c.DrainTime = 300 * time.Millisecond })
	setListener(t, f.e, strings.Replace(httpListener("out", `"route_config":{"name":"r","virtual_hosts":[{"name":"v","domains":["*"],"routes":[`+okRoute+`]}]}`, "", ""), "INBOUND", "OUTBOUND", 1))
	idle := newKeepAlive(t, f.base)
	idle.get()
	eventually(t, "idle", func() bool { return stat(f.e, "http.front.downstream_rq_active") == 0 })
	f.e.DrainListeners(true, true)
	if got := f.e.DrainState(); got != DrainSequence {
		t.Errorf("state %v", got)
	}
	if !idle.closed() {
		t.Error("the idle connection was not closed")
	}
	fresh := newKeepAlive(t, f.base) // still accepting
	if !fresh.get() || !fresh.closed() {
		t.Error("no connection: close on an inbound listener")
	}
	outbound := newKeepAlive(t, listenAddr(t, f.e, "out"))
	if outbound.get() {
		t.Error("connection: close on an outbound listener")
	}
	eventually(t, "accepting stops", func() bool { return f.e.DrainState() == DrainStopped })
	eventually(t, "inbound refused", func() bool {
		c, err := net.Dial("tcp", strings.TrimPrefix(f.base, "http://"))
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	newKeepAlive(t, listenAddr(t, f.e, "out")).get()
	if outbound.get() {
		t.Error("outbound was told to leave")
	}
	f.e.DrainListeners(false, false)
	if _, err := net.Dial("tcp", listenAddr(t, f.e, "out")); err == nil {
		t.Error("outbound still accepts")
	}
}

// TestDrainAsEnvoy keeps idle connections, and with DrainClients goes on accepting.
func TestDrainAsEnvoy(t *testing.T) {
	t.Parallel()
	f := newFront(t, okRoute, "", "", func(c *Config) { c.DrainTime, c.KeepIdleOnDrain = 20*time.Millisecond, true })
	idle := newKeepAlive(t, f.base)
	idle.get()
	f.e.DrainClients(true)
	<-time.After(60 * time.Millisecond) // past the drain time
	if got := f.e.DrainState(); got != DrainSequence {
		t.Errorf("state %v", got)
	}
	if !idle.get() {
		t.Error("the connection was not told to leave")
	}
	newKeepAlive(t, f.base).get()
}

// TestStopTouchesNoConnection stops at once, without a drain: whoever is connected stays, and is not told to leave.
func TestStopTouchesNoConnection(t *testing.T) {
	t.Parallel()
	f := newFront(t, okRoute, "", "")
	idle := newKeepAlive(t, f.base)
	idle.get()
	c := h2Client(t)
	get(t, c, f.base+"/")
	f.e.DrainListeners(false, false)
	if _, err := net.Dial("tcp", strings.TrimPrefix(f.base, "http://")); err == nil {
		t.Error("still accepts")
	}
	if idle.get() {
		t.Error("the HTTP/1 connection was told to leave")
	}
	get(t, c, f.base+"/") // there is no way to a second connection
	if got := stat(f.e, "http.front.downstream_cx_http2_total"); got != 1 {
		t.Errorf("%d HTTP/2 connections, want the first one", got)
	}
}

func TestDrainHTTP2(t *testing.T) {
	t.Parallel()
	f := newFront(t, okRoute, "", "")
	c := h2Client(t)
	get(t, c, f.base+"/")
	eventually(t, "one connection", func() bool { return stat(f.e, "http.front.downstream_cx_http2_active") == 1 })
	f.e.DrainListeners(false, true)
	eventually(t, "GOAWAY ends the idle connection", func() bool { return stat(f.e, "http.front.downstream_cx_http2_active") == 0 })
	get(t, c, f.base+"/") // over a new connection, which is told to leave with the response
	eventually(t, "GOAWAY ends the next one", func() bool { return stat(f.e, "http.front.downstream_cx_http2_active") == 0 })
}

func TestHealthcheckFail(t *testing.T) {
	t.Parallel()
	f := newFront(t, okRoute, "", "")
	f.e.HealthcheckFail(true)
	if !newKeepAlive(t, f.base).get() {
		t.Error("not told to leave")
	}
	f.e.HealthcheckFail(false)
	if newKeepAlive(t, f.base).get() {
		t.Error("told to leave")
	}
}

// TestListenerReplaced expects a connection of the old configuration to be told to leave, not cut.
func TestListenerReplaced(t *testing.T) {
	t.Parallel()
	f := newFront(t, okRoute, "", "")
	old := newKeepAlive(t, f.base)
	old.get()
	setListener(t, f.e, httpListener("front", `"route_config":{"name":"r2","virtual_hosts":[{"name":"v","domains":["*"],"routes":[`+okRoute+`]}]}`, "", ""))
	if listenAddr(t, f.e, "front") != strings.TrimPrefix(f.base, "http://") {
		t.Error("the port changed")
	}
	if newKeepAlive(t, f.base).get() {
		t.Error("a new connection is told to leave")
	}
	if !old.get() || !old.closed() {
		t.Error("the old connection was not told to leave")
	}
	if n := f.e.ActiveConnections(); n > 2 {
		t.Errorf("%d connections", n)
	}
}

// TestGradualDrain is certain only at both ends: nobody leaves before the start, everybody after the drain time.
func TestGradualDrain(t *testing.T) {
	t.Parallel()
	d := &drainer{time: time.Hour, strategy: DrainGradual}
	if d.leaving(true) {
		t.Error("leaving without a drain")
	}
	if !d.begin(true, func() {}) || d.begin(true, func() {}) {
		t.Error("a drain begins once")
	}
	defer d.close()
	if d.leaving(false) {
		t.Error("outbound leaves")
	}
	d.begun = time.Now().Add(-2 * time.Hour)
	if !d.leaving(true) {
		t.Error("not leaving after the drain time")
	}
	d.begun = time.Now().Add(-30 * time.Minute)
	told := 0
	for range 1000 {
		if d.leaving(true) {
			told++
		}
	}
	if told < 350 || told > 650 {
		t.Errorf("half-way %d of 1000 leave", told)
	}
}
