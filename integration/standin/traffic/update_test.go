// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestMeshNothingLostUnderLoad changes endpoints and certificates under load; no request may be lost.
func TestMeshNothingLostUnderLoad(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"http", "http2"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			backend := h2cBackend(t)
			m := newMesh(t, &mesh{protocol: protocol, backend: backend})
			second := newEngine(t)
			first := m.api
			m.api = second
			m.startAPI(t)
			a, b := listenAddr(t, first, "public_listener"), listenAddr(t, second, "public_listener")
			stop, failed := make(chan struct{}), make(chan string, 4)
			var clients sync.WaitGroup
			var served atomic.Int64
			for range 4 {
				clients.Go(func() {
					if err := callUntil(t, stop, "http://"+m.entrance(t)+"/", &served); err != nil {
						failed <- err.Error()
					}
				})
			}
			for round := 0; len(failed) == 0 && (round < 10 || served.Load() < 100); round++ {
				setEndpoints(t, m.web, m.assignment(a, b))
				<-time.After(10 * time.Millisecond)
				setEndpoints(t, m.web, m.assignment(b))
				<-time.After(10 * time.Millisecond)
				setEndpoints(t, m.web, m.assignment(a))
				m.startWeb(t) // a new leaf certificate: the cluster is replaced and warms again
				setEndpoints(t, m.web, m.assignment(a, b))
				setListener(t, second, m.publicListener(t))
			}
			close(stop)
			clients.Wait()
			close(failed)
			for f := range failed {
				t.Error(f)
			}
		})
	}
}

// callUntil makes requests until it is told to stop; anything but 200 is an error.
func callUntil(t testing.TB, stop <-chan struct{}, url string, served *atomic.Int64) error {
	t.Helper()
	c := client(t)
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		resp, err := c.Get(url)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if err = errors.Join(err, resp.Body.Close()); err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		served.Add(1)
	}
}

// TestListenerUpdateKeepsUnchangedChains updates one of two chains and expects connections of the other to stay.
func TestListenerUpdateKeepsUnchangedChains(t *testing.T) {
	t.Parallel()
	e := newEngine(t, func(c *Config) { c.DrainTime = 50 * time.Millisecond })
	host, port, _ := strings.Cut(echo(t), ":")
	setCluster(t, e, staticCluster("local", host, port))
	text := func(otherPrefix string) string {
		chain := func(match, prefix string) string {
			return `{"filter_chain_match":` + match + `,"filters":[{"name":"t","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy","stat_prefix":"` + prefix + `","cluster":"local"}}]}`
		}
		return `{"name":"l","address":` + socketJSON("127.0.0.1", "0") + `,"filter_chains":[` +
			chain(`{"source_prefix_ranges":[{"address_prefix":"127.0.0.1","prefix_len":32}]}`, "same") + `,` +
			chain(`{"source_prefix_ranges":[{"address_prefix":"127.0.0.2","prefix_len":32}]}`, otherPrefix) + `]}`
	}
	setListener(t, e, text("one"))
	dial := func(from string) (net.Conn, func() error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.Dial("tcp", listenAddr(t, e, "l"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		r := bufio.NewReader(c)
		return c, func() error {
			if _, err := fmt.Fprintln(c, "x"); err != nil {
				return err
			}
			_, err := r.ReadString('\n')
			return err
		}
	}
	_, kept := dial("127.0.0.1")
	gone, cut := dial("127.0.0.2")
	if err := kept(); err != nil {
		t.Fatal(err)
	}
	if err := cut(); err != nil {
		t.Fatal(err)
	}
	setListener(t, e, text("two"))
	if err := gone.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := gone.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("the replaced chain's connection was not closed: %v", err)
	}
	if err := kept(); err != nil {
		t.Errorf("the unchanged chain's connection: %v", err)
	}
	if a := e.listeners.active["l"]; a == nil || len(a.chains) != 2 {
		t.Error("listener lost")
	}
}
