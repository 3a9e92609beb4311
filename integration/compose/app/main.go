// SPDX-License-Identifier: MPL-2.0

// Command app is the application of podplane's examples, podplane-example in its image: a service that answers, or
// passes on what its upstream in the mesh answers, and has metrics of its own. It knows nothing of the mesh.
//
// `podplane-example look HOST:PORT` shows what somebody outside of the mesh sees of a public listener. Called by the
// name curl it understands the little of curl's command line that deploy/compose uses, for a machine without curl.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// requestTimeout bounds a request, served or sent.
	requestTimeout = 10 * time.Second
	// stopTimeout is how long requests under way may take after SIGTERM.
	stopTimeout = 5 * time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, filepath.Base(os.Args[0])+":", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	switch {
	case filepath.Base(args[0]) == "curl":
		return curl(ctx, args[1:], stdout)
	case len(args) == 3 && args[1] == "look":
		return look(ctx, args[2], stdout)
	default:
		return serve(ctx, args[1:], stdout)
	}
}

func serve(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("podplane-example", flag.ContinueOnError)
	name := flags.String("name", "example", "the name in the answers")
	listen := flags.String("listen", "127.0.0.1:8080", "where to listen")
	upstream := flags.String("upstream", "", "the URL to ask for each request; none: answer oneself")
	if err := flags.Parse(args); err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", *listen)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: newService(*name, *upstream), ReadHeaderTimeout: requestTimeout}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	_, _ = fmt.Fprintf(stdout, "%s answers at %s\n", *name, l.Addr())
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	err = server.Shutdown(bounded)
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
