// SPDX-License-Identifier: MPL-2.0

package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/goleak"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"podplane/integration/envoybin"
	"podplane/integration/kubelet"
	"podplane/integration/kubetest"
	"podplane/integration/netns"
	"podplane/integration/servers"
)

// patience bounds what a test waits for. It is long because the machine may be slow; where a time is part of what is
// promised, the test measures it.
const patience = 2 * time.Minute

// nodeName is the node on which pods run.
const nodeName = "node-1"

// buildsVar carries the paths of what was built before the network was left.
const buildsVar = "PODPLANE_TEST_KUBE_BUILDS"

// builds are the programs of the tests.
type builds struct {
	Podplane, Injector, Box string
	Envoy                   envoybin.Envoy
}

// The cluster of all tests.
var (
	programs builds
	cluster  *kubetest.Cluster
	network  *netns.Bridge
	node     *kubelet.Kubelet
)

func TestMain(m *testing.M) {
	if netns.Inside() {
		os.Exit(inside(m))
	}
	os.Exit(outside())
}

// outside builds everything, and runs the tests in a network of their own.
func outside() int {
	dir, err := os.MkdirTemp("", "podplane-kube-")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		err = build(context.Background(), dir)
	}
	var data []byte
	if err == nil {
		data, err = json.Marshal(programs)
	}
	code := 1
	if err == nil {
		code, err = netns.Reexec(buildsVar + "=" + string(data))
	}
	if errors.Is(err, netns.ErrNotPossible) {
		fmt.Println("SKIP: the tests in Kubernetes are not run:", err)
		return 0
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return code
}

func build(ctx context.Context, dir string) (err error) {
	for _, server := range []servers.Server{
		servers.Consul(), servers.Etcd(), servers.KubeAPIServer(), servers.KubeControllerManager(),
	} {
		if _, err := server.Find(); err != nil {
			return err
		}
	}
	if programs.Envoy, err = envoybin.Find(ctx); err != nil {
		return err
	}
	root, err := servers.ModuleDir(ctx)
	if err != nil {
		return err
	}
	for name, target := range map[string]struct {
		pkg  string
		path *string
	}{
		"podplane":          {"./cmd/podplane", &programs.Podplane},
		"podplane-injector": {"./cmd/podplane-injector", &programs.Injector},
		"box":               {"./integration/kubelet/box", &programs.Box},
	} {
		path := filepath.Join(dir, name)
		// As they are shipped: static, so that they run in a container that holds nothing else.
		_, err := servers.Go(ctx, root, "build", "-tags", "hashicorpmetrics,grpcnotrace,nethttpomithttp2", "-o", path, target.pkg)
		if err != nil {
			return err
		}
		*target.path = path
	}
	return nil
}

// inside starts the cluster, runs the tests, and ends it.
func inside(m *testing.M) (code int) {
	log.SetLogger(logr.Discard()) // it would ask for one on standard error
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stop, err := start(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	} else {
		fmt.Println("tests in Kubernetes run with", programs.Envoy)
		code = m.Run()
	}
	if err := stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	return code
}

// start starts what all tests share. What is returned ends it, also after an error.
func start(ctx context.Context) (stop func() error, err error) {
	var ends []func() error
	stop = func() error {
		var errs []error
		for i := range ends {
			errs = append(errs, ends[len(ends)-1-i]())
		}
		return errors.Join(errs...)
	}
	if err := json.Unmarshal([]byte(os.Getenv(buildsVar)), &programs); err != nil {
		return stop, err
	}
	dir, err := os.MkdirTemp("", "podplane-kube-")
	if err != nil {
		return stop, err
	}
	ends = append(ends, func() error { return os.RemoveAll(dir) })
	if network, err = netns.NewBridge("pods0", netip.MustParsePrefix("10.244.0.0/16"), dir); err != nil {
		return stop, err
	}
	begin := time.Now()
	if cluster, err = kubetest.Start(ctx); err != nil {
		return stop, err
	}
	ends = append(ends, cluster.Close)
	fmt.Println("kubernetes is ready after", time.Since(begin).Round(time.Millisecond))
	end, err := startNode(ctx, dir)
	if err != nil {
		return stop, err
	}
	ends = append(ends, end)
	if err := startConsul(ctx, dir); err != nil {
		return stop, err
	}
	ends = append(ends, consul.Close)
	return stop, deploy(ctx)
}

// startNode starts the kubelet.
func startNode(ctx context.Context, dir string) (stop func() error, err error) {
	node, err = kubelet.New(ctx, kubelet.Config{
		Cluster: cluster, Node: nodeName, Network: network, Box: programs.Box, Images: images(), Dir: dir,
		Logf: func(format string, args ...any) { events.add(fmt.Sprintf(format, args...)) },
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- node.Run(ctx) }()
	return func() error {
		cancel()
		return <-ended
	}, nil
}

// images are what stands for those of the product and of the examples.
func images() map[string]kubelet.Image {
	const bin = "/usr/local/bin/"
	// A shell and what it calls are the machine's.
	machine := []string{"/usr", "/bin", "/lib"}
	if _, err := os.Stat("/lib64"); err == nil {
		machine = append(machine, "/lib64")
	}
	var libraries []string
	if programs.Envoy.Kind == envoybin.Real {
		libraries = machine[2:]
	}
	return map[string]kubelet.Image{
		"podplane": {
			Programs: map[string]string{
				bin + "podplane": programs.Podplane, bin + "consul-dataplane": programs.Podplane, bin + "envoy": programs.Envoy.Path,
			},
			Folders: libraries, Entrypoint: []string{bin + "podplane"}, User: 65532,
		},
		"podplane-injector": {
			Programs:   map[string]string{bin + "podplane-injector": programs.Injector},
			Entrypoint: []string{bin + "podplane-injector"}, User: 65532,
		},
		"http-echo": {
			Programs: map[string]string{"/http-echo": programs.Box}, Entrypoint: []string{"/http-echo"}, User: 65532,
		},
		"curl": {
			Programs: map[string]string{"/bin/curl": programs.Box, "/bin/sleep": programs.Box, "/bin/sh": shell()},
			Folders:  machine[2:], Entrypoint: []string{"/bin/curl"}, User: 100,
		},
		"shell": {Folders: machine, Entrypoint: []string{"/bin/sh", "-c"}},
	}
}

func shell() string {
	path, err := exec.LookPath("sh")
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return "/bin/sh"
	}
	return path
}

// events is what the kubelet said, for failed tests.
var events eventLog

type eventLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *eventLog) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, time.Now().Format(time.StampMilli)+" "+line)
}
