// SPDX-License-Identifier: MPL-2.0

// Command bench measures a dataplane, podplane or another one that takes the
// flags of consul-dataplane, alone or beside a second one in the same run:
//
//	go run ./integration/bench -bin bin/podplane [-vs PATH]
//
// What is around the dataplane is made for the purpose, so that only the
// dataplane is measured: a Consul server, an Envoy, an application. Each is this
// program in another role, in a process of its own, because a dataplane that
// shared a process with its peers would share their memory and their garbage
// collector.
//
// Every round starts everything anew and runs one dataplane at a time. Rounds of
// two binaries alternate, so that what else the machine does meets both. Each
// thing that is waited for has a deadline: what a binary cannot do is a dash with
// its reason in the table.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"podplane/integration/bench/consulend"
	"podplane/integration/bench/copyend"
	"podplane/integration/bench/envoyend"
	"podplane/integration/bench/report"
	"podplane/integration/bench/scrapeend"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err, isRole := play(ctx, os.Args)
	if !isRole {
		err = run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	}
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Base(os.Args[0]), err)
		os.Exit(1)
	}
}

// play runs the role that the program's name tells, if it tells one.
func play(ctx context.Context, args []string) (err error, isRole bool) { //nolint:revive // the error may be nil in both cases
	role := filepath.Base(args[0])
	if role == envoyend.Role {
		return envoyend.Run(ctx, args), true
	}
	flags := flag.NewFlagSet(role, flag.ContinueOnError)
	controlPath := flags.String("control", "", "path of the benchmark's socket")
	listen := flags.String("listen", "", "address to serve at")
	servers := flags.String("servers", "", "addresses of all servers")
	proxyConfig := flags.String("proxy-config", "{}", "the proxy's opaque configuration")
	series := flags.Int("series", 0, "number of series")
	urls := flags.String("urls", "", "what to copy")
	target := flags.String("target", "", "address to copy connections to")
	switch role {
	case consulend.Role, copyend.Role, scrapeend.RoleApplication, scrapeend.RoleCopy:
		if err := flags.Parse(args[1:]); err != nil {
			return err, true
		}
	}
	switch role {
	case consulend.Role:
		config := consulend.Config{Control: *controlPath, Listen: *listen, Servers: strings.Split(*servers, ",")}
		if err := json.Unmarshal([]byte(*proxyConfig), &config.ProxyConfig); err != nil {
			return err, true
		}
		return consulend.Run(ctx, config), true
	case copyend.Role:
		return copyend.Run(ctx, *controlPath, *target), true
	case scrapeend.RoleApplication:
		return scrapeend.RunApplication(ctx, *controlPath, *series), true
	case scrapeend.RoleCopy:
		return scrapeend.RunCopy(ctx, *controlPath, strings.Split(*urls, ",")), true
	}
	return nil, false
}

// run is the benchmark itself.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	bin := flags.String("bin", "bin/podplane", "the dataplane to measure")
	vs := flags.String("vs", "", "a second dataplane to compare it with, in the same run")
	jsonPath := flags.String("json", "", "write the figures to this file, too, with every sample")
	doc := flags.String("doc", "", "put the table into this document, too, between its marks")
	only := flags.String("only", "", "measure only these scenarios, comma separated")
	quick := flags.Bool("quick", false, "one round with little load: shows that all works, and no more")
	rounds := flags.Int("rounds", 0, "how many rounds of each scenario; 0: its own number")
	check := flags.Bool("check", false, "fail if -bin does not keep what is promised")
	limit := flags.Duration("timeout", 15*time.Minute, "measure no longer than this; what is left is a dash")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	chosen, err := choose(scenarios(), *only)
	if err != nil {
		return err
	}
	paths := []string{*bin}
	if *vs != "" {
		paths = append(paths, *vs)
	}
	if err := adopt(); err != nil {
		return fmt.Errorf("adopt what dataplanes leave behind: %w", err)
	}
	interrupted := ctx
	ctx, cancel := context.WithTimeout(ctx, *limit)
	defer cancel()
	b := &bench{scale: fullScale(), quick: *quick, rounds: *rounds, progress: stderr}
	if *quick {
		b.scale = quickScale()
	}
	if b.binaries, err = inspectAll(ctx, paths...); err != nil {
		return err
	}
	r, out := b.run(ctx, chosen), outputs{json: *jsonPath, doc: *doc, check: *check}
	switch {
	case interrupted.Err() != nil:
		err = errors.New("interrupted: what is left is a dash")
	case ctx.Err() != nil:
		err = fmt.Errorf("the %s of -timeout were not enough: what is left is a dash", *limit)
	default:
		return publish(r, stdout, out)
	}
	out.doc = "" // it keeps its last whole table
	return errors.Join(err, publish(r, stdout, out))
}

// outputs say where a report goes besides standard output.
type outputs struct {
	json, doc string
	check     bool
}

func publish(r *report.Report, stdout io.Writer, o outputs) error {
	table := r.Table()
	_, err := io.WriteString(stdout, table)
	if o.json != "" {
		err = errors.Join(err, writeJSON(r, o.json))
	}
	if o.doc != "" {
		err = errors.Join(err, report.Insert(o.doc, table))
	}
	if broken := r.Broken(); o.check && len(broken) > 0 {
		err = errors.Join(err, fmt.Errorf("not kept:\n  %s", strings.Join(broken, "\n  ")))
	}
	return err
}

func writeJSON(r *report.Report, path string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(r.WriteJSON(file), file.Close())
}
