// SPDX-License-Identifier: MPL-2.0

// Command demo shows the main job: two services that reach each other through
// their dataplanes, with mutual TLS and intentions, against a real Consul server.
// Every line says what was seen. A step that does not hold ends the demo with
// exit code 1, and nothing is left running either way.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"podplane/integration/consultest"
	"podplane/integration/envoybin"
	"podplane/integration/mesh"
)

// patience bounds each step of the demo.
const patience = 30 * time.Second

func main() {
	podplane := flag.String("podplane", "bin/podplane", "the podplane binary to show")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *podplane); err != nil {
		fmt.Fprintln(os.Stderr, "FAILED:", err)
		stop()
		os.Exit(1)
	}
	fmt.Println("done: every step was seen to hold")
}

// demo is the state of a run.
type demo struct {
	start  time.Time
	envoy  envoybin.Envoy
	consul *consultest.Cluster
	mesh   *mesh.Mesh
	web    *mesh.Pod
	api    *mesh.Pod
}

func run(ctx context.Context, podplane string) (err error) {
	// Before the first step, and without its limit: a stand-in that is not built yet takes a minute.
	envoy, err := envoybin.Find(ctx)
	if err != nil {
		return err
	}
	d := &demo{start: time.Now(), envoy: envoy}
	fmt.Println("        Envoy:", envoy)
	steps := []struct {
		what string
		do   func(context.Context) (string, error)
	}{
		{"Consul server with TLS, ACLs and a jwt auth method", d.startConsul},
		{"two services with their dataplanes", d.startPods(podplane)},
		{"request web → api", d.request},
		{"the connection is mutual TLS", d.mutualTLS},
		{"deny intention", d.deny},
		{"intention removed", d.allow},
		{"SIGTERM", d.terminate},
	}
	defer func() { err = errors.Join(err, d.close(err != nil)) }()
	for i, step := range steps {
		ctx, cancel := context.WithTimeout(ctx, patience)
		seen, err := step.do(ctx)
		cancel()
		if err != nil {
			return fmt.Errorf("step %d, %s: %w", i+1, step.what, err)
		}
		fmt.Printf("%6.2fs  %d. %s: %s\n", time.Since(d.start).Seconds(), i+1, step.what, seen)
	}
	return nil
}

func (d *demo) close(failed bool) error {
	var errs []error
	if d.mesh != nil {
		if failed {
			fmt.Fprintln(os.Stderr, d.mesh.Output())
		}
		errs = append(errs, d.mesh.Close())
	}
	if d.consul != nil {
		errs = append(errs, d.consul.Close())
	}
	return errors.Join(errs...)
}

func (d *demo) startConsul(ctx context.Context) (string, error) {
	var err error
	d.consul, err = consultest.Start(ctx, consultest.Options{TLS: true, JWT: true})
	if err != nil {
		return "", err
	}
	// With ACLs nobody may reach anybody until an intention says so.
	if err := d.consul.Client().SetIntention(ctx, "*", "api", consultest.Allow); err != nil {
		return "", err
	}
	return "a leader is elected, gRPC at " + d.consul.GRPCAddr(0), nil
}

func (d *demo) startPods(podplane string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		m, err := mesh.NewWith(d.envoy, d.consul, podplane)
		if err != nil {
			return "", err
		}
		d.mesh = m
		for _, service := range []string{"api", "web"} {
			if err := d.consul.Client().SetProtocol(ctx, service, "http"); err != nil {
				return "", err
			}
		}
		if d.api, err = m.Start(ctx, mesh.PodSpec{Name: "api"}); err != nil {
			return "", err
		}
		if d.web, err = m.Start(ctx, mesh.PodSpec{Name: "web", Upstreams: []string{"api"}}); err != nil {
			return "", err
		}
		if err := errors.Join(d.api.WaitReady(ctx), d.web.WaitReady(ctx)); err != nil {
			return "", err
		}
		return fmt.Sprintf("both answer /ready with 200; podplane %d and %d, Envoy %d and %d",
			d.web.Dataplane().PID(), d.api.Dataplane().PID(), d.web.EnvoyPID(ctx), d.api.EnvoyPID(ctx)), nil
	}
}

func (d *demo) request(ctx context.Context) (string, error) {
	answer, err := d.await(ctx, http.StatusOK)
	if err != nil {
		return "", err
	}
	if want := mesh.Greeting("api") + ", /hello"; answer.Body != want {
		return "", fmt.Errorf("the answer is %q, not %q", answer.Body, want)
	}
	return fmt.Sprintf("answered %d %q through web's upstream listener", answer.Status, answer.Body), nil
}

// await asks api through web until the answer has the wanted status.
func (d *demo) await(ctx context.Context, status int) (mesh.Answer, error) {
	var answer mesh.Answer
	var err error
	if mesh.Until(ctx, func(ctx context.Context) bool {
		answer, err = d.web.Call(ctx, "api", "/hello")
		return err == nil && answer.Status == status
	}) != nil {
		return answer, fmt.Errorf("no answer with status %d; the last one is %d %q (%w)", status, answer.Status, answer.Body, err)
	}
	return answer, nil
}

func (d *demo) mutualTLS(ctx context.Context) (string, error) {
	return d.api.MutualTLS(ctx)
}

func (d *demo) deny(ctx context.Context) (string, error) {
	return d.change(ctx, http.StatusForbidden, func(c *consultest.Client) error {
		return c.SetIntention(ctx, "web", "api", consultest.Deny)
	})
}

func (d *demo) allow(ctx context.Context) (string, error) {
	return d.change(ctx, http.StatusOK, func(c *consultest.Client) error {
		return c.DeleteIntention(ctx, "web", "api")
	})
}

// change makes a change in Consul, and waits until a request shows it: at most
// for a second.
func (d *demo) change(ctx context.Context, status int, write func(*consultest.Client) error) (string, error) {
	if err := write(d.consul.Client()); err != nil {
		return "", err
	}
	start := time.Now()
	answer, err := d.await(ctx, status)
	if err != nil {
		return "", err
	}
	took := time.Since(start)
	if took > time.Second {
		return "", fmt.Errorf("it took %s until a request got %d", took, status)
	}
	return fmt.Sprintf("requests get %d %q, %d ms after it was written", answer.Status, answer.Body, took.Milliseconds()), nil
}

func (d *demo) terminate(ctx context.Context) (string, error) {
	pids := []int{d.web.EnvoyPID(ctx), d.api.EnvoyPID(ctx)}
	for _, pod := range []*mesh.Pod{d.web, d.api} {
		if err := pod.Dataplane().Signal(syscall.SIGTERM); err != nil {
			return "", err
		}
	}
	for _, pod := range []*mesh.Pod{d.web, d.api} {
		select {
		case <-pod.Dataplane().Done():
		case <-ctx.Done():
			return "", fmt.Errorf("the dataplane of %s still runs", pod.Service.Name)
		}
		if code := pod.Dataplane().ExitCode(); code != 0 {
			return "", fmt.Errorf("the dataplane of %s ended with code %d", pod.Service.Name, code)
		}
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			return "", fmt.Errorf("envoy %d still runs (%w)", pid, err)
		}
	}
	return "both dataplanes ended with exit code 0, both Envoys are gone", nil
}
