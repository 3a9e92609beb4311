// SPDX-License-Identifier: MPL-2.0

package kubelet

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// dialTimeout bounds one attempt to reach an endpoint.
const dialTimeout = 5 * time.Second

// proxy is kube-proxy for TCP: it listens at ClusterIPs and forwards connections to ready endpoints.
type proxy struct {
	cfg Config

	mu        sync.Mutex
	listeners map[types.NamespacedName][]net.Listener
	slices    map[types.NamespacedName]*discoveryv1.EndpointSlice
	conns     map[net.Conn]bool
	closed    bool
	wg        sync.WaitGroup
}

func newProxy(cfg Config) *proxy {
	return &proxy{
		cfg: cfg, listeners: map[types.NamespacedName][]net.Listener{},
		slices: map[types.NamespacedName]*discoveryv1.EndpointSlice{}, conns: map[net.Conn]bool{},
	}
}

// service takes over a Service. Connections end with ctx.
func (p *proxy) service(ctx context.Context, object client.Object, gone bool) {
	service, _ := object.(*corev1.Service)
	key := client.ObjectKeyFromObject(service)
	p.mu.Lock()
	defer p.mu.Unlock()
	ip, err := netip.ParseAddr(service.Spec.ClusterIP)
	if p.closed || gone || err != nil { // gone, headless, or not assigned yet
		for _, l := range p.listeners[key] {
			_ = l.Close()
		}
		delete(p.listeners, key)
		return
	}
	if len(p.listeners[key]) > 0 {
		return // ports of a Service are not changed in tests
	}
	if err := p.cfg.Network.AddLocal(ip); err != nil {
		p.cfg.Logf("service %s: %v", key, err)
		return
	}
	for _, port := range service.Spec.Ports {
		if port.Protocol != corev1.ProtocolTCP {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort(ip.String(), strconv.Itoa(int(port.Port))))
		if err != nil {
			p.cfg.Logf("service %s: %v", key, err)
			continue
		}
		p.listeners[key] = append(p.listeners[key], l)
		p.wg.Go(func() { p.accept(ctx, l, key, port.Name) })
	}
}

// slice takes over an EndpointSlice.
func (p *proxy) slice(object client.Object, gone bool) {
	slice, _ := object.(*discoveryv1.EndpointSlice)
	p.mu.Lock()
	defer p.mu.Unlock()
	if gone {
		delete(p.slices, client.ObjectKeyFromObject(slice))
		return
	}
	p.slices[client.ObjectKeyFromObject(slice)] = slice
}

func (p *proxy) accept(ctx context.Context, l net.Listener, service types.NamespacedName, port string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		if !p.keep(conn) {
			return
		}
		p.wg.Go(func() {
			defer p.drop(conn)
			p.forward(ctx, conn, p.endpoints(service, port))
		})
	}
}

// keep remembers a connection, so that close ends it too. The caller calls drop.
func (p *proxy) keep(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = conn.Close()
		return false
	}
	p.conns[conn] = true
	return true
}

func (p *proxy) drop(conn net.Conn) {
	_ = conn.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, conn)
}

// endpoints gives the addresses that serve a port of a Service now, in random order.
func (p *proxy) endpoints(service types.NamespacedName, port string) []string {
	if service == (types.NamespacedName{Namespace: "default", Name: "kubernetes"}) {
		return []string{p.cfg.Cluster.Addr()}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for _, slice := range p.slices {
		if slice.Namespace != service.Namespace || slice.Labels[discoveryv1.LabelServiceName] != service.Name {
			continue
		}
		i := slices.IndexFunc(slice.Ports, func(q discoveryv1.EndpointPort) bool {
			return q.Port != nil && q.Name != nil && *q.Name == port
		})
		if i < 0 {
			continue
		}
		for _, endpoint := range slice.Endpoints {
			if ready := endpoint.Conditions.Ready; ready == nil || *ready {
				out = append(out, net.JoinHostPort(endpoint.Addresses[0], strconv.Itoa(int(*slice.Ports[i].Port))))
			}
		}
	}
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// forward joins the connection with the first endpoint that takes it. Unlike kube-proxy's NAT it goes on to the next
// one when a connection is refused, which only hides what happens between the death of a pod and its status.
func (p *proxy) forward(ctx context.Context, conn net.Conn, endpoints []string) {
	dialer := &net.Dialer{Timeout: dialTimeout}
	for _, address := range endpoints {
		to, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			continue
		}
		if !p.keep(to) {
			return
		}
		defer p.drop(to)
		done := make(chan struct{})
		go func() {
			defer close(done)
			join(to, conn)
		}()
		join(conn, to)
		<-done
		return
	}
}

// join copies until one side ends, and passes the end on.
func join(to, from net.Conn) {
	_, err := io.Copy(to, from)
	half, ok := to.(*net.TCPConn)
	if err != nil || !ok || half.CloseWrite() != nil {
		_ = to.Close()
		_ = from.Close()
	}
}

func (p *proxy) close() {
	p.mu.Lock()
	p.closed = true
	for _, all := range p.listeners {
		for _, l := range all {
			_ = l.Close()
		}
	}
	for conn := range p.conns {
		_ = conn.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}
