// SPDX-License-Identifier: MPL-2.0

// Command soak starts and stops a dataplane some hundred times against a real
// Consul server, in all the ways in which a pod begins and ends, and then has one
// dataplane restart its Envoy as often. It looks for what a single run does not
// show: processes, descriptors, goroutines, ports or ACL tokens that stay behind.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"podplane/integration/consultest"
	"podplane/integration/mesh"
)

// patience bounds one cycle.
const patience = 30 * time.Second

func main() {
	n := counts{}
	flag.IntVar(&n.starts, "starts", 500, "how many times to start and stop a dataplane")
	flag.IntVar(&n.crashes, "crashes", 500, "how many times to crash the Envoy of one")
	podplane := flag.String("podplane", "bin/podplane", "the podplane binary to use")
	limit := flag.Duration("timeout", 20*time.Minute, "the whole run must end within this time")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *limit)
	defer cancel()
	if err := run(ctx, *podplane, n); err != nil {
		fmt.Fprintln(os.Stderr, "FAILED:", err)
		cancel()
		os.Exit(1)
	}
	fmt.Println("done: nothing stayed behind")
}

// counts says how long the soak is.
type counts struct{ starts, crashes int }

func run(ctx context.Context, podplane string, n counts) (err error) {
	consul, err := consultest.Start(ctx, consultest.Options{TLS: true, JWT: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, consul.Close()) }()
	m, err := mesh.New(ctx, consul, podplane)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	fmt.Println("Envoy:", m.Envoy)
	if err := starts(ctx, m, n.starts); err != nil {
		return fmt.Errorf("%w\n%s", err, m.Output())
	}
	if err := crashes(ctx, m, n.crashes); err != nil {
		return fmt.Errorf("%w\n%s", err, m.Output())
	}
	return nil
}

// progress says every so often how far it is.
func progress(what string, i, of int, began time.Time) {
	if i%50 == 0 && i > 0 {
		say("%4d of %d %s, %s each", i, of, what, (time.Since(began) / time.Duration(i)).Round(time.Millisecond))
	}
}

// say prints a line on what was seen.
func say(format string, args ...any) { fmt.Println(fmt.Sprintf(format, args...)) }
