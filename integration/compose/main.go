// SPDX-License-Identifier: MPL-2.0

// Command compose brings up deploy/compose with published images or, where no registry can be reached, with images
// made locally, checks what it is to show, and takes it down again, whatever happened. Every line says what was seen;
// what does not hold ends it with exit code 1. It is what `make compose` runs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"podplane/integration/images"
	"podplane/integration/servers"
)

// patience bounds each step; pulling and making images have limits of their own.
const patience = 3 * time.Minute

func main() {
	tag := flag.String("tag", "dev", "tag of the product's images")
	keep := flag.Bool("keep", false, "leave it up, and say how to take it down")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *tag, *keep); err != nil {
		fmt.Fprintln(os.Stderr, "FAILED:", err)
		stop()
		os.Exit(1)
	}
	fmt.Println("done: every step was seen to hold")
}

func run(ctx context.Context, tag string, keep bool) (err error) {
	environment, err := prepare(ctx, tag)
	if err != nil {
		return err
	}
	p, err := newProject(ctx, environment)
	if err != nil {
		return err
	}
	c := &check{project: p, start: time.Now()}
	defer func() {
		if err != nil {
			p.logs(ctx)
		}
		if keep {
			fmt.Printf("left up; web is at %s. Take it down with:\n%s\n", c.web, p.downCommand())
			return
		}
		err = errors.Join(err, p.down(ctx))
	}()
	for i, step := range c.steps() {
		ctx, cancel := context.WithTimeout(ctx, patience)
		seen, err := step.do(ctx)
		cancel()
		if err != nil {
			return fmt.Errorf("step %d, %s: %w", i+1, step.what, err)
		}
		fmt.Printf("%6.2fs  %d. %s: %s\n", time.Since(c.start).Seconds(), i+1, step.what, seen)
	}
	return nil
}

// prepare makes sure of the images and gives the variables of compose.yaml.
func prepare(ctx context.Context, tag string) ([]string, error) {
	source, err := images.ParseSource(os.Getenv(images.SourceVar))
	if err != nil {
		return nil, err
	}
	root, err := servers.ModuleDir(ctx)
	if err != nil {
		return nil, err
	}
	if err := (images.Docker{}).Check(ctx); err != nil {
		return nil, err
	}
	pins, err := images.ReadPins(root)
	if err != nil {
		return nil, err
	}
	b := &images.Builder{Root: root, Platform: "linux/" + runtime.GOARCH, Source: source, Log: os.Stdout}
	made := make(map[string]string)
	for _, name := range []string{images.Consul, images.Prometheus, images.Curl} {
		image, err := images.Find(pins, name)
		if err != nil {
			return nil, err
		}
		if made[name], err = b.Ensure(ctx, images.Pin{Name: name, Image: image}); err != nil {
			return nil, err
		}
	}
	return variables(tag, made), nil
}

// variables are those of compose.yaml.
func variables(tag string, made map[string]string) []string {
	all := []string{
		"PODPLANE_IMAGE=podplane:" + tag, "EXAMPLE_IMAGE=podplane-example:" + tag,
		// Any free ports: the usual ones may be taken, by another run for one.
		"CONSUL_PORT=0", "WEB_PORT=0", "PROMETHEUS_PORT=0",
	}
	for name, image := range made {
		all = append(all, name+"="+image)
	}
	return all
}
