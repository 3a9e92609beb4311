// SPDX-License-Identifier: MPL-2.0

package dataplane

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// fakeFlag, an argument for Envoy after the settings' "--", tells the fake what
// to do besides:
//
//	exit:N        ends at once with code N
//	deaf          does not serve the admin API
//	initializing  never asks for its configuration, so it never gets LIVE
//	reject        rejects the clusters
//	busy          has a request in flight, always
const fakeFlag = "--fake"

const (
	clusterType  = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	listenerType = "type.googleapis.com/envoy.config.listener.v3.Listener"

	rejection = "Error adding/updating cluster(s) api: no such transport socket"
)

// fakeEnvoy does of Envoy's what the dataplane needs: the admin API, and the
// first exchange of its configuration.
type fakeEnvoy struct {
	how  string
	quit chan struct{}

	mu    sync.Mutex
	state string
	stats map[string]int
}

func runFakeEnvoy(configPath string, args []string) int {
	e := &fakeEnvoy{quit: make(chan struct{}), state: "INITIALIZING", stats: map[string]int{}}
	for i, arg := range args[:max(0, len(args)-1)] {
		if arg == fakeFlag {
			e.how = args[i+1]
		}
	}
	if code, ok := strings.CutPrefix(e.how, "exit:"); ok {
		n, _ := strconv.Atoi(code)
		return n
	}
	bootstrap, err := readBootstrap(configPath)
	if err != nil {
		return e.fail(err)
	}
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	if e.how == "deaf" {
		<-terminated
		return 0
	}
	admin, err := net.Listen("tcp", bootstrap.Admin.Address.String())
	if err != nil {
		return e.fail(err)
	}
	go func() { _ = http.Serve(admin, e.adminAPI()) }()
	if e.how == "busy" {
		e.stats["http.public_listener.downstream_rq_active"] = 1
	}
	if e.how != "initializing" {
		go func() {
			if err := e.configure(bootstrap); err != nil {
				e.fail(err)
			}
		}()
	}
	select {
	case <-terminated:
	case <-e.quit:
	}
	return 0
}

func (e *fakeEnvoy) fail(err error) int {
	fmt.Fprintln(os.Stderr, "fake envoy:", err)
	return 1
}

// bootstrap is the part of a bootstrap that matters here.
type bootstrap struct {
	Node struct {
		ID string `json:"id"`
	} `json:"node"`
	Admin struct {
		Address address `json:"address"`
	} `json:"admin"`
	Dynamic struct {
		ADS struct {
			Services []struct {
				Envoy struct {
					Cluster string `json:"cluster_name"`
				} `json:"envoy_grpc"`
				Metadata []struct{ Key, Value string } `json:"initial_metadata"`
			} `json:"grpc_services"`
		} `json:"ads_config"`
	} `json:"dynamic_resources"`
	Static struct {
		Clusters []struct {
			Name       string `json:"name"`
			Assignment struct {
				Endpoints []struct {
					LB []struct {
						Endpoint struct {
							Address address `json:"address"`
						} `json:"endpoint"`
					} `json:"lb_endpoints"`
				} `json:"endpoints"`
			} `json:"load_assignment"`
		} `json:"clusters"`
	} `json:"static_resources"`
}

type address struct {
	Socket struct {
		Address string `json:"address"`
		Port    int    `json:"port_value"`
	} `json:"socket_address"`
	Pipe struct {
		Path string `json:"path"`
	} `json:"pipe"`
}

func (a address) String() string {
	if a.Pipe.Path != "" {
		return a.Pipe.Path
	}
	return net.JoinHostPort(a.Socket.Address, strconv.Itoa(a.Socket.Port))
}

func (a address) network() string {
	if a.Pipe.Path != "" {
		return "unix"
	}
	return "tcp"
}

func readBootstrap(path string) (*bootstrap, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var b bootstrap
	return &b, json.Unmarshal(content, &b)
}

// dialXDS connects to the cluster that the bootstrap names for ADS.
func (b *bootstrap) dialXDS() (*grpc.ClientConn, error) {
	name := b.Dynamic.ADS.Services[0].Envoy.Cluster
	for _, c := range b.Static.Clusters {
		if c.Name != name {
			continue
		}
		at := c.Assignment.Endpoints[0].LB[0].Endpoint.Address
		return grpc.NewClient("passthrough:///xds",
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, at.network(), at.String())
			}))
	}
	return nil, fmt.Errorf("no cluster %q", name)
}

// configure asks for clusters and then for listeners, and is LIVE when it has
// an answer to both.
func (e *fakeEnvoy) configure(b *bootstrap) error {
	conn, err := b.dialXDS()
	if err != nil {
		return err
	}
	md := metadata.MD{}
	for _, m := range b.Dynamic.ADS.Services[0].Metadata {
		md.Append(m.Key, m.Value)
	}
	ctx := metadata.NewOutgoingContext(context.Background(), md)
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		return err
	}
	first := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: clusterType, Node: &corev3.Node{Id: b.Node.ID}}
	if err := stream.Send(first); err != nil {
		return err
	}
	for {
		response, err := stream.Recv()
		if err != nil {
			return nil // podplane has ended
		}
		answer := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: response.TypeUrl, ResponseNonce: response.Nonce}
		if e.how == "reject" && response.TypeUrl == clusterType {
			answer.ErrorDetail = &rpcstatus.Status{Code: 13, Message: rejection}
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
		e.accepted(response.TypeUrl, answer.ErrorDetail == nil)
		if response.TypeUrl == clusterType {
			if err := stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: listenerType}); err != nil {
				return err
			}
		}
	}
}

// accepted counts an answer of the control plane's.
func (e *fakeEnvoy) accepted(typeURL string, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	stat := "cluster_manager.cds"
	if typeURL == listenerType {
		stat = "listener_manager.lds"
		e.state = "LIVE"
	}
	if ok {
		e.stats[stat+".update_success"]++
	} else {
		e.stats[stat+".update_rejected"]++
	}
}

func (e *fakeEnvoy) adminAPI() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		state := e.now()
		if state != "LIVE" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprintln(w, state)
	})
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, r *http.Request) {
		filter := regexp.MustCompile(r.URL.Query().Get("filter"))
		e.mu.Lock()
		defer e.mu.Unlock()
		for name, value := range e.stats {
			if filter.MatchString(name) {
				fmt.Fprintf(w, "%s: %d\n", name, value)
			}
		}
	})
	mux.HandleFunc("GET /server_info", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"version": "0/1.34.1-fake/Clean/RELEASE/BoringSSL", "state": %q}`, e.now())
	})
	for path, text := range map[string]string{
		"/stats/prometheus": "# TYPE envoy_server_live gauge\nenvoy_server_live{} 1\n",
		"/config_dump":      `{"configs": ["the whole configuration"]}`,
		"/certs":            `{"certificates": [{"cert_chain": [{"path": "<inline>", "serial_number": "5eed"}]}]}`,
		"/clusters":         `{"cluster_statuses": [{"name": "api", "added_via_api": true}]}`,
		"/listeners":        `{"listener_statuses": [{"name": "public_listener"}]}`,
	} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) })
	}
	mux.HandleFunc("POST /drain_listeners", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "OK") })
	mux.HandleFunc("POST /quitquitquit", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "OK")
		close(e.quit)
	})
	return mux
}

func (e *fakeEnvoy) now() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.state
}
