// SPDX-License-Identifier: MPL-2.0

package xdsproxy

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

func names(r *deltaResponse) []string {
	var out []string
	for _, res := range r.GetResources() {
		out = append(out, res.GetName())
	}
	slices.Sort(out)
	return out
}

func expectRequest(t *testing.T, got *deltaRequest, want *deltaRequest) {
	t.Helper()
	if !proto.Equal(got, want) {
		t.Fatalf("request at the server\n got: %v\nwant: %v", got, want)
	}
}

func TestForwardsWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	server := newConsul(t)
	p := startProxy(t, Config{Upstream: server.conn})
	e := p.envoy(t.Context())
	e.send(&deltaRequest{Node: testNode(), TypeUrl: clusterType})
	up := server.next()
	expectRequest(t, up.receive(), &deltaRequest{Node: testNode(), TypeUrl: clusterType})

	// A field that this version does not know must arrive all the same.
	r := &deltaResponse{TypeUrl: clusterType, Nonce: "00000001", Resources: []*discoveryv3.Resource{resourceOf("a", "1", "body")}}
	unknown := protowire.AppendTag(nil, 1999, protowire.BytesType)
	unknown = protowire.AppendString(unknown, "of a later version")
	r.ProtoReflect().SetUnknown(unknown)
	up.send(r)
	got := e.receive()
	if !bytes.Equal(got.ProtoReflect().GetUnknown(), unknown) {
		t.Error("an unknown field was lost on the way to envoy")
	}
	if v := got.GetResources()[0].GetResource().GetValue(); string(v) != "body" {
		t.Errorf("resource body is %q", v)
	}
	ack := &deltaRequest{TypeUrl: clusterType, ResponseNonce: got.GetNonce()}
	ack.ProtoReflect().SetUnknown(unknown)
	e.send(ack)
	atServer := up.receive()
	if atServer.GetResponseNonce() != "00000001" {
		t.Errorf("the server's nonce came back as %q", atServer.GetResponseNonce())
	}
	if !bytes.Equal(atServer.ProtoReflect().GetUnknown(), unknown) {
		t.Error("an unknown field was lost on the way to the server")
	}
}

// start brings a proxy to the state where Envoy holds clusters a and b and
// endpoints of both.
func start(t *testing.T, server *consul, p *proxy) (*envoy, *consulStream) {
	t.Helper()
	e := p.envoy(t.Context())
	e.send(&deltaRequest{Node: testNode(), TypeUrl: clusterType})
	up := server.next()
	up.receive()
	up.send(&deltaResponse{TypeUrl: clusterType, Nonce: "1", Resources: []*discoveryv3.Resource{
		resourceOf("a", "a1", "A"), resourceOf("b", "b1", "B"),
	}})
	e.ack(e.receive())
	up.receive()
	e.send(&deltaRequest{TypeUrl: endpointType, ResourceNamesSubscribe: []string{"a", "b"}})
	expectRequest(t, up.receive(), &deltaRequest{TypeUrl: endpointType, ResourceNamesSubscribe: []string{"a", "b"}})
	up.send(&deltaResponse{TypeUrl: endpointType, Nonce: "2", Resources: []*discoveryv3.Resource{
		resourceOf("a", "ea1", "EA"), resourceOf("b", "eb1", "EB"),
	}})
	e.ack(e.receive())
	up.receive()
	return e, up
}

func TestResumesWithWhatEnvoyAccepted(t *testing.T) {
	t.Parallel()
	server := newConsul(t)
	p := startProxy(t, Config{Upstream: server.conn})
	e, up := start(t, server, p)

	up.end <- status.Error(codes.Unavailable, "server is going away")
	up = server.next()
	expectRequest(t, up.receive(), &deltaRequest{
		Node: testNode(), TypeUrl: clusterType,
		InitialResourceVersions: map[string]string{"a": "a1", "b": "b1"},
	})
	expectRequest(t, up.receive(), &deltaRequest{
		TypeUrl: endpointType, ResourceNamesSubscribe: []string{resumeName},
		InitialResourceVersions: map[string]string{"a": "ea1", "b": "eb1"},
	})
	// Envoy's stream is the same, and what changed arrives on it.
	up.send(&deltaResponse{TypeUrl: clusterType, Nonce: "1", RemovedResources: []string{"b"}})
	r := e.receive()
	if got := r.GetRemovedResources(); !slices.Equal(got, []string{"b"}) {
		t.Errorf("removed %v", got)
	}
	e.ack(r)
	expectRequest(t, up.receive(), &deltaRequest{TypeUrl: clusterType, ResponseNonce: "1"})
	if st := p.server.Status(); st.Types["Cluster"].Resources != 1 || !st.UpstreamConnected || !st.EnvoyConnected {
		t.Errorf("status %+v", st)
	}
}

func TestAnswersToAnOlderServerStayHere(t *testing.T) {
	t.Parallel()
	server := newConsul(t)
	p := startProxy(t, Config{Upstream: server.conn})
	e, up := start(t, server, p)

	up.send(&deltaResponse{TypeUrl: clusterType, Nonce: "3", Resources: []*discoveryv3.Resource{resourceOf("a", "a2", "A2")}})
	pending := e.receive()
	up.end <- status.Error(codes.Unavailable, "server is going away")
	up = server.next()
	// The endpoints are settled; the clusters wait for Envoy's answer. The
	// endpoints of the cluster that was sent must come again, for it warms.
	expectRequest(t, up.receive(), &deltaRequest{
		Node: testNode(), TypeUrl: endpointType, ResourceNamesSubscribe: []string{"a"},
		InitialResourceVersions: map[string]string{"b": "eb1"},
	})
	e.send(&deltaRequest{TypeUrl: clusterType, ResponseNonce: pending.GetNonce()})
	expectRequest(t, up.receive(), &deltaRequest{
		TypeUrl:                 clusterType,
		InitialResourceVersions: map[string]string{"a": "a2", "b": "b1"},
	})
}

func TestNewEnvoyIsServedWithoutAServer(t *testing.T) {
	t.Parallel()
	server := newConsul(t)
	p := startProxy(t, Config{Upstream: server.conn})
	e, _ := start(t, server, p)
	e.close()
	if err := server.conn.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first envoy is gone", func() bool { return !p.server.Status().EnvoyConnected })

	e = p.envoy(t.Context())
	e.send(&deltaRequest{Node: testNode(), TypeUrl: clusterType})
	r := e.receive()
	if got := names(r); !slices.Equal(got, []string{"a", "b"}) {
		t.Fatalf("clusters from the cache: %v", got)
	}
	if v := r.GetResources()[0].GetResource().GetValue(); string(v) != "A" {
		t.Errorf("cluster a has the body %q", v)
	}
	e.ack(r)
	e.send(&deltaRequest{TypeUrl: endpointType, ResourceNamesSubscribe: []string{"b"}})
	r = e.receive()
	if got := names(r); !slices.Equal(got, []string{"b"}) {
		t.Fatalf("endpoints from the cache: %v", got)
	}
}

func TestNewEnvoyIsServedFromTheCacheAndThenResumes(t *testing.T) {
	t.Parallel()
	server := newConsul(t)
	p := startProxy(t, Config{Upstream: server.conn})
	e, _ := start(t, server, p)
	e.close()
	e = p.envoy(t.Context())
	up := server.next()
	e.send(&deltaRequest{Node: testNode(), TypeUrl: clusterType})
	r := e.receive()
	if len(up.requests) > 0 {
		t.Error("the server was asked before envoy accepted what the cache has")
	}
	e.ack(r)
	expectRequest(t, up.receive(), &deltaRequest{
		Node: testNode(), TypeUrl: clusterType,
		InitialResourceVersions: map[string]string{"a": "a1", "b": "b1"},
	})
}

func TestWithoutCacheTheServerIsAsked(t *testing.T) {
	t.Parallel()
	server := newConsul(t)
	p := startProxy(t, Config{Upstream: server.conn, NoCache: true})
	e, _ := start(t, server, p)
	e.close()
	e = p.envoy(t.Context())
	e.send(&deltaRequest{Node: testNode(), TypeUrl: clusterType})
	expectRequest(t, server.next().receive(), &deltaRequest{Node: testNode(), TypeUrl: clusterType})
}

func TestRejectionIsPassedOnAndRemembered(t *testing.T) {
	t.Parallel()
	server := newConsul(t)
	p := startProxy(t, Config{Upstream: server.conn})
	e, up := start(t, server, p)
	up.send(&deltaResponse{TypeUrl: clusterType, Nonce: "9", Resources: []*discoveryv3.Resource{resourceOf("a", "bad", "?")}})
	r := e.receive()
	e.nack(r, "cluster a: no such thing")
	got := up.receive()
	if got.GetResponseNonce() != "9" || got.GetErrorDetail().GetMessage() != "cluster a: no such thing" {
		t.Errorf("rejection at the server: %v", got)
	}
	st := p.server.Status().Types["Cluster"]
	if st.Rejected != "cluster a: no such thing" || st.LastNACK.IsZero() || st.Resources != 2 {
		t.Errorf("status %+v", st)
	}
	up.send(&deltaResponse{TypeUrl: clusterType, Nonce: "a"})
	e.ack(e.receive())
	up.receive()
	if st := p.server.Status().Types["Cluster"]; st.Rejected != "" || st.LastReason != "cluster a: no such thing" {
		t.Errorf("after an answer that is accepted: %+v", st)
	}
	up.end <- status.Error(codes.Unavailable, "gone")
	up = server.next()
	if v := up.receive().GetInitialResourceVersions(); !maps.Equal(v, map[string]string{"a": "a1", "b": "b1"}) {
		t.Errorf("a rejected version counts as held: %v", v)
	}
}

func TestBigMessagesPass(t *testing.T) {
	t.Parallel()
	server := newConsul(t)
	p := startProxy(t, Config{Upstream: server.conn})
	e := p.envoy(t.Context())
	e.send(&deltaRequest{Node: testNode(), TypeUrl: clusterType})
	up := server.next()
	up.receive()
	body := strings.Repeat("0123456789abcdef", 16<<20/16) // four times what gRPC takes unless told otherwise
	for _, version := range []string{"1", "2", "3"} {     // the next one is taken when gRPC has let go of the last
		up.send(&deltaResponse{TypeUrl: clusterType, Nonce: version, Resources: []*discoveryv3.Resource{resourceOf("big", version, body)}})
		r := e.receive()
		if got := r.GetResources()[0].GetResource().GetValue(); string(got) != body {
			t.Errorf("%d bytes arrived, not as they were sent", len(got))
		}
	}
}

func TestNewerStreamReplacesTheOlder(t *testing.T) {
	t.Parallel()
	server := newConsul(t)
	p := startProxy(t, Config{Upstream: server.conn})
	older, _ := start(t, server, p)
	newer := p.envoy(t.Context())
	newer.send(&deltaRequest{Node: testNode(), TypeUrl: clusterType})
	if _, err := older.stream.Recv(); status.Code(err) != codes.Aborted {
		t.Errorf("the older stream ended with %v", err)
	}
	if got := names(newer.receive()); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("the newer stream got %v", got)
	}
}

func TestOtherMethodsAreUnimplemented(t *testing.T) {
	t.Parallel()
	p := startProxy(t, Config{Upstream: newConsul(t).conn})
	client := discoveryv3.NewAggregatedDiscoveryServiceClient(p.dial())
	stream, err := client.StreamAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unimplemented {
		t.Errorf("state of the world: %v", err)
	}
}

func TestOtherProcessIsRefused(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	p := startProxy(t, Config{
		Upstream: newConsul(t).conn, Registerer: reg,
		PeerPID: func() int { return os.Getpid() + 1 },
	})
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(p.dial()).DeltaAggregatedResources(t.Context())
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Unavailable {
		t.Errorf("a stranger got %v", err)
	}
	if n := testutil.ToFloat64(p.server.metrics.refused.WithLabelValues("peer")); n < 1 {
		t.Errorf("%v refusals counted", n)
	}
}

func TestSecretOverTCP(t *testing.T) {
	t.Parallel()
	server := newConsul(t)
	p := startProxy(t, Config{Upstream: server.conn, Addr: "127.0.0.1:0", Secret: "open sesame"})
	tests := map[string]struct {
		pairs []string
		want  codes.Code
	}{
		"none":  {nil, codes.Unauthenticated},
		"wrong": {[]string{SecretKey, "open"}, codes.Unauthenticated},
		"two":   {[]string{SecretKey, "open sesame", SecretKey, "x"}, codes.Unauthenticated},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := metadata.AppendToOutgoingContext(t.Context(), tt.pairs...)
			if _, err := p.envoy(ctx).stream.Recv(); status.Code(err) != tt.want {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("right", func(t *testing.T) {
		t.Parallel()
		e := p.envoy(metadata.AppendToOutgoingContext(t.Context(), SecretKey, "open sesame"))
		e.send(&deltaRequest{Node: testNode(), TypeUrl: clusterType})
		up := server.next()
		up.receive()
		md, _ := metadata.FromIncomingContext(up.stream.Context())
		if got := md.Get(SecretKey); len(got) > 0 {
			t.Error("the secret was sent to the server")
		}
	})
}

func TestGivesUpWhenRefusedForGood(t *testing.T) {
	t.Parallel()
	server := newConsul(t)
	s, err := New(Config{Upstream: server.conn, PeerPID: os.Getpid, MaxRefusals: 2}, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, server: s, ended: make(chan error, 1)}
	go func() { p.ended <- s.Run(t.Context()) }()
	p.envoy(t.Context()).send(&deltaRequest{Node: testNode(), TypeUrl: clusterType})
	for range 2 {
		server.next().end <- status.Error(codes.InvalidArgument, "Envoy 1.1.1 is too old and is not supported by Consul")
	}
	err = within(t, p.ended, "the end of Run")
	var refused *RefusedError
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "Envoy 1.1.1 is too old") {
		t.Errorf("Run ended with %v", err)
	}
}

func TestRefusalOfAConfiguredProxyDoesNotEndIt(t *testing.T) {
	t.Parallel()
	server := newConsul(t)
	p := startProxy(t, Config{Upstream: server.conn, MaxRefusals: 1})
	_, up := start(t, server, p)
	up.end <- status.Error(codes.Unauthenticated, "ACL not found")
	for range 2 {
		server.next().end <- status.Error(codes.Unauthenticated, "ACL not found")
	}
	server.next()
	st := p.server.Status()
	if st.Refusals != 2 || !st.EnvoyConnected {
		t.Errorf("status %+v", st)
	}
}

func TestListenErrors(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	up := newConsul(t).conn
	tests := map[string]struct {
		config Config
		want   string
	}{
		"taken":       {Config{Upstream: up, Addr: taken.Addr().String(), Secret: "s"}, taken.Addr().String()},
		"no secret":   {Config{Upstream: up, Addr: "127.0.0.1:0"}, "needs a secret"},
		"no peer":     {Config{Upstream: up}, "needs the process"},
		"no upstream": {Config{PeerPID: os.Getpid}, "no upstream"},
		"no folder":   {Config{Upstream: up, PeerPID: os.Getpid, Addr: "unix:///nowhere/at/all.sock"}, "/nowhere/at/all.sock"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := New(tt.config, nil)
			if err == nil {
				_ = s.Close()
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%q does not say %q", err, tt.want)
			}
		})
	}
}

func TestStaleSocketIsReplacedAndALiveOneIsNot(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "xds.sock")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	if err := left.Close(); err != nil {
		t.Fatal(err)
	}
	config := Config{Upstream: newConsul(t).conn, PeerPID: os.Getpid, Addr: unixScheme + path}
	s, err := New(config, nil)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the socket's mode is %v", info.Mode())
	}
	if second, err := New(config, nil); err == nil {
		_ = second.Close()
		t.Error("took over a socket that is in use")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

func TestMalformedRequestEndsTheStream(t *testing.T) {
	t.Parallel()
	p := startProxy(t, Config{Upstream: newConsul(t).conn})
	stream, err := p.dial().NewStream(context.WithoutCancel(t.Context()), &streamDesc, methodName)
	if err != nil {
		t.Fatal(err)
	}
	r := &deltaRequest{}
	r.ProtoReflect().SetUnknown(protowire.AppendTag(nil, 2, protowire.BytesType))
	if err := stream.SendMsg(r); err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(&deltaResponse{}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("got %v", err)
	}
}

func TestFollowsTheConnectionToAnotherServer(t *testing.T) {
	t.Parallel()
	server := newConsul(t)
	var epoch atomic.Uint64
	changes := make(chan struct{}, 1)
	p := startProxy(t, Config{
		Upstream: server.conn, Epoch: epoch.Load,
		Changed: func() <-chan struct{} { return changes },
	})
	_, up := start(t, server, p)
	epoch.Add(1)
	changes <- struct{}{}
	if v := server.next().receive().GetInitialResourceVersions(); len(v) != 2 {
		t.Errorf("the new stream starts with %v", v)
	}
	<-up.stream.Context().Done() // the older stream does not linger
}

func TestSecretFromATemplate(t *testing.T) {
	t.Parallel()
	server := newConsul(t)
	p := startProxy(t, Config{Upstream: server.conn, Addr: "127.0.0.1:0", Secret: "open sesame"})
	p.envoy(metadata.AppendToOutgoingContext(t.Context(), tokenKey, "open sesame"))
	md, _ := metadata.FromIncomingContext(server.next().stream.Context())
	if got := md.Get(tokenKey); len(got) > 0 {
		t.Error("the secret was sent to the server")
	}
}

func TestAStreamIsLeftAtItsAge(t *testing.T) {
	t.Parallel()
	server := newConsul(t)
	p := startProxy(t, Config{Upstream: server.conn, MaxStreamAge: time.Second})
	e := p.envoy(t.Context())
	e.send(&deltaRequest{Node: testNode(), TypeUrl: clusterType})
	for range 3 {
		up := server.next()
		up.receive()
		<-up.stream.Context().Done()
	}
	if st := p.server.Status(); !st.EnvoyConnected {
		t.Error("envoy's stream ended with the upstream's")
	}
}

func TestSilenceIsTold(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s, err := New(Config{Upstream: newConsul(t).conn, PeerPID: os.Getpid}, hclog.New(&hclog.LoggerOptions{Output: &out}))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.tellSilence()
	if out.Len() > 0 {
		t.Errorf("silence of no server: %s", out.String())
	}
	s.status.UpstreamConnected = true
	s.tellSilence()
	if !strings.Contains(out.String(), "has sent no configuration") {
		t.Errorf("log: %q", out.String())
	}
}

// TestBigCopyIsServed: what is served from the copy may be as large as what came
// from a server.
func TestBigCopyIsServed(t *testing.T) {
	t.Parallel()
	server := newConsul(t)
	p := startProxy(t, Config{Upstream: server.conn})
	e := p.envoy(t.Context())
	e.send(&deltaRequest{Node: testNode(), TypeUrl: clusterType})
	up := server.next()
	up.receive()
	body := strings.Repeat("0123456789abcdef", 2*maxQueued/16)
	up.send(&deltaResponse{TypeUrl: clusterType, Nonce: "1", Resources: []*discoveryv3.Resource{resourceOf("big", "1", body)}})
	e.ack(e.receive())
	up.receive()
	e.close()
	e = p.envoy(t.Context())
	e.send(&deltaRequest{Node: testNode(), TypeUrl: clusterType})
	if got := e.receive().GetResources()[0].GetResource().GetValue(); string(got) != body {
		t.Errorf("%d bytes from the copy, not as they were", len(got))
	}
}

// TestKeysInARejectionAreCutOff: Envoy repeats a message that fails validation.
func TestKeysInARejectionAreCutOff(t *testing.T) {
	t.Parallel()
	server := newConsul(t)
	p := startProxy(t, Config{Upstream: server.conn})
	e, up := start(t, server, p)
	up.send(&deltaResponse{TypeUrl: clusterType, Nonce: "9", Resources: []*discoveryv3.Resource{resourceOf("a", "bad", "?")}})
	e.nack(e.receive(), `Proto constraint validation failed (name: too short): tls_certificates { private_key { inline_string: "-----BEGIN EC PRIVATE KEY-----\nMHc" } }`)
	up.receive()
	got := p.server.Status().Types["Cluster"].Rejected
	if !strings.Contains(got, "name: too short") || strings.Contains(got, "MHc") || strings.Contains(got, "BEGIN") {
		t.Errorf("kept of the reason: %q", got)
	}
}

// TestQuietStreamsDoNotUseUpTheBackoff: a stream that was left for its age is no
// failure, however many there were.
func TestQuietStreamsDoNotUseUpTheBackoff(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	server := newConsul(t)
	p := startProxy(t, Config{Upstream: server.conn, MaxStreamAge: 20 * time.Millisecond, Registerer: reg})
	p.envoy(t.Context()).send(&deltaRequest{Node: testNode(), TypeUrl: clusterType})
	for range 12 {
		up := server.next()
		<-up.stream.Context().Done()
	}
	began := time.Now()
	select {
	case server.next().end <- status.Error(codes.Unavailable, "gone"):
	default:
	}
	server.next()
	if took := time.Since(began); took > backoffMax/2 { // of which a backoff that is used up takes at least half
		t.Errorf("after quiet streams a lost one is replaced in %s", took)
	}
	if n := testutil.ToFloat64(p.server.metrics.errors.WithLabelValues("Unavailable")); n > 2 {
		t.Errorf("%v streams count as failed", n)
	}
}

// TestACopyIsALifeToProtect: refusals do not end a proxy that goes by what an
// earlier process left.
func TestACopyIsALifeToProtect(t *testing.T) {
	t.Parallel()
	c := newCache()
	c.put(clusterType, "a", resource{version: "1", small: marshal(t, resourceOf("a", "1", "A"))})
	server := newConsul(t)
	p := startProxy(t, Config{
		Upstream: server.conn, MaxRefusals: 1,
		Store: &memoryStore{content: c.snapshot(), saved: make(chan struct{}, 1)},
	})
	p.envoy(t.Context()).send(&deltaRequest{Node: testNode(), TypeUrl: clusterType})
	for range 3 {
		server.next().end <- status.Error(codes.PermissionDenied, "no")
	}
	server.next()
	if st := p.server.Status(); st.Refusals != 3 || !st.EnvoyConnected {
		t.Errorf("status %+v", st)
	}
}
