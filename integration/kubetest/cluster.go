// SPDX-License-Identifier: MPL-2.0

package kubetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"podplane/integration/consultest"
	"podplane/integration/ports"
	"podplane/integration/proc"
	"podplane/integration/servers"
)

const (
	// startTimeout bounds Start. A control plane is up after 5 s on an idle machine.
	startTimeout = 3 * time.Minute
	// stopTimeout is how long each part may take to end after SIGTERM.
	stopTimeout = 20 * time.Second
	// logTailBytes is how much of each log an error or a failed test shows.
	logTailBytes = 4 << 10
)

// ServiceCIDR is where the ClusterIPs of Services come from.
const ServiceCIDR = "10.96.0.0/16"

// ServiceIP is the ClusterIP of the API server's own Service, the first of [ServiceCIDR].
const ServiceIP = "10.96.0.1"

// Cluster is a running control plane. Its methods may be called from several goroutines.
type Cluster struct {
	dir      string
	block    *ports.Block
	ca       *consultest.CA
	admin    string // secret of the administrator's token
	etcdPort int
	peerPort int
	apiPort  int

	etcd, api, controllers *proc.Process
	client                 client.WithWatch
}

// Start starts a control plane and returns when it answers, and makes ServiceAccounts. ctx bounds only the start. The
// caller must call [Cluster.Close]. On an error nothing is left running, and the error carries the end of the logs.
func Start(ctx context.Context) (*Cluster, error) {
	c := &Cluster{}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	err := c.prepare()
	if err == nil {
		err = c.start(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start kubernetes: %w\n%s", err, c.LogTail()), c.Close())
	}
	return c, nil
}

// prepare makes everything that is needed before the first process starts.
func (c *Cluster) prepare() (err error) {
	if c.dir, err = os.MkdirTemp("", "kubetest-"); err != nil {
		return err
	}
	if c.block, err = ports.Reserve(3); err != nil {
		return err
	}
	c.etcdPort, c.peerPort, c.apiPort = c.block.Next(), c.block.Next(), c.block.Next()
	return c.writeFiles()
}

func (c *Cluster) start(ctx context.Context) error {
	for _, part := range []struct {
		process **proc.Process
		server  servers.Server
		args    []string
		ready   func(context.Context) error
	}{
		{&c.etcd, servers.Etcd(), c.etcdArgs(), c.etcdReady},
		{&c.api, servers.KubeAPIServer(), c.apiArgs(), c.apiReady},
		{&c.controllers, servers.KubeControllerManager(), c.controllerArgs(), c.controllersReady},
	} {
		binary, err := part.server.Find()
		if err != nil {
			return err
		}
		name := part.server.Name
		*part.process, err = proc.Start(proc.Spec{
			Name: name,
			Args: append([]string{binary}, part.args...),
			Env:  []string{"PATH=" + os.Getenv("PATH"), "HOME=" + c.dir},
			Dir:  c.dir, LogFile: filepath.Join(c.dir, name+".log"),
		})
		if err != nil {
			return err
		}
		if err := await(ctx, *part.process, part.ready); err != nil {
			return fmt.Errorf("%s is not ready: %w", name, err)
		}
	}
	return nil
}

// Close ends every part and removes all files. It may be called more than once.
func (c *Cluster) Close() error {
	var errs []error
	for _, part := range []*proc.Process{c.controllers, c.api, c.etcd} {
		if part != nil {
			errs = append(errs, part.Stop(stopTimeout))
		}
	}
	if c.block != nil {
		c.block.Release()
	}
	if c.dir != "" {
		errs = append(errs, os.RemoveAll(c.dir))
	}
	return errors.Join(errs...)
}

// LogTail returns the last lines of each part's log.
func (c *Cluster) LogTail() string {
	var out strings.Builder
	for name, part := range map[string]*proc.Process{"etcd": c.etcd, "api": c.api, "controllers": c.controllers} {
		if part != nil {
			fmt.Fprintf(&out, "--- %s\n%s", name, part.Tail(logTailBytes))
		}
	}
	return out.String()
}

// Addr is the API server's address, host:port.
func (c *Cluster) Addr() string { return ports.HostPort(loopback, c.apiPort) }

// URL is the API server's URL.
func (c *Cluster) URL() string { return "https://" + c.Addr() }

// CA returns the PEM certificate of the authority that signed the API server's certificate.
func (c *Cluster) CA() []byte { return c.ca.PEM() }

// Config is that of a client with a bearer token of the caller's choice.
func (c *Cluster) Config(token string) *rest.Config {
	return &rest.Config{
		Host:            c.URL(),
		BearerToken:     token,
		TLSClientConfig: rest.TLSClientConfig{CAData: c.CA()},
		QPS:             -1, // the test's own pace
	}
}

// Admin is the configuration of a client that may do everything.
func (c *Cluster) Admin() *rest.Config { return c.Config(c.admin) }

// Client may do everything, with objects of every type that [Scheme] has, and unstructured ones.
func (c *Cluster) Client() client.WithWatch { return c.client }

// PauseAPI freezes the API server: its connections stay open and nobody answers.
func (c *Cluster) PauseAPI() error { return c.api.Pause() }

// ResumeAPI lets a paused API server go on.
func (c *Cluster) ResumeAPI() error { return c.api.Resume() }
