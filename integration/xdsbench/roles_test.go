// SPDX-License-Identifier: MPL-2.0

package xdsbench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/anypb"

	"podplane/xdsproxy"
)

const (
	roleVar   = "XDSBENCH_ROLE"
	secret    = "bench"
	clusterV3 = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
)

func TestMain(m *testing.M) {
	switch role := os.Getenv(roleVar); {
	case role == "server":
		exit(serve(os.Stdin, os.Stdout))
	case strings.HasPrefix(role, "proxy "):
		exit(proxy(strings.TrimPrefix(role, "proxy ")))
	}
	os.Exit(m.Run())
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// source is the control plane: it pushes count responses with bodies of size
// bytes to whoever subscribes with these two numbers as resource names.
type source struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
}

func (source) DeltaAggregatedResources(stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	name := first.GetResourceNamesSubscribe()[0]
	if strings.HasPrefix(name, echoName) {
		return echo(stream, first)
	}
	var count, size int
	if _, err := fmt.Sscanf(name, "%d*%d", &count, &size); err != nil {
		return err
	}
	var answers atomic.Int64
	done := make(chan error, 1)
	go func() {
		for answers.Load() < int64(count) {
			if _, err := stream.Recv(); err != nil {
				done <- err
				return
			}
			answers.Add(1)
		}
		done <- nil
	}()
	body := make([]byte, size)
	for i := range body {
		body[i] = byte(i * 7)
	}
	for i := range count {
		err := stream.Send(&discoveryv3.DeltaDiscoveryResponse{
			TypeUrl: first.GetTypeUrl(), Nonce: fmt.Sprintf("%08x", i),
			Resources: []*discoveryv3.Resource{{
				Name: name, Version: strconv.Itoa(i), Resource: &anypb.Any{TypeUrl: clusterV3, Value: body},
			}},
		})
		if err != nil {
			return err
		}
	}
	return <-done
}

// echoName subscribes to a response for each answer.
const echoName = "echo"

func echo(stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer, first *discoveryv3.DeltaDiscoveryRequest) error {
	for i := 0; ; i++ {
		err := stream.Send(&discoveryv3.DeltaDiscoveryResponse{
			TypeUrl: first.GetTypeUrl(), Nonce: fmt.Sprintf("%08x", i),
			Resources: []*discoveryv3.Resource{{Name: first.GetResourceNamesSubscribe()[0], Version: strconv.Itoa(i)}},
		})
		if err != nil {
			return err
		}
		if _, err := stream.Recv(); err != nil {
			return err
		}
	}
}

func serve(stop io.Reader, out io.Writer) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	g := grpc.NewServer(grpc.MaxSendMsgSize(1 << 30))
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(g, source{})
	_, _ = fmt.Fprintln(out, l.Addr())
	go endWith(stop, g.Stop)
	return g.Serve(l)
}

// endWith ends a role with the process that started it.
func endWith(stop io.Reader, end func()) {
	_, _ = io.Copy(io.Discard, stop)
	end()
}

// proxy serves on TCP: the client is another process than the one that the
// proxy would know as Envoy. For each line that it reads it tells its CPU time in
// microseconds and its peak memory in KiB.
func proxy(upstream string) error {
	conn, err := grpc.NewClient(upstream, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	s, err := xdsproxy.New(xdsproxy.Config{Addr: "127.0.0.1:0", Secret: secret, Upstream: conn},
		hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: os.Stderr}))
	if err != nil {
		return err
	}
	fmt.Println(s.Addr())
	if path := os.Getenv("XDSBENCH_PROFILE"); path != "" {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() {
			if lines.Text() == "free" {
				debug.FreeOSMemory()
			}
			var u syscall.Rusage
			_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
			fmt.Println((u.Utime.Nano()+u.Stime.Nano())/1000, resident())
		}
	}()
	return s.Run(ctx)
}

// resident is the resident memory in KiB, as the kernel tells.
func resident() int {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, _ := strconv.Atoi(strings.Fields(rest)[0])
			return n
		}
	}
	return 0
}
