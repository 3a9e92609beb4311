// SPDX-License-Identifier: MPL-2.0

// Command build builds the product's images from binaries that are there already, and prints what each is made of. It
// is what `make image` runs.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"podplane/integration/images"
	"podplane/integration/servers"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var p images.Product
	flags := flag.NewFlagSet("build", flag.ExitOnError)
	platforms := flags.String("platforms", "linux/"+runtime.GOARCH, "platforms, separated by spaces or commas")
	flags.StringVar(&p.Tag, "tag", "dev", "tag of the images; those of other platforms than this machine's get -ARCH behind it")
	flags.StringVar(&p.Version, "version", "dev", "version, for the label")
	flags.StringVar(&p.Revision, "revision", "unknown", "commit, for the label")
	flags.StringVar(&p.Created, "created", "", "time of the commit, for the label")
	flags.StringVar(&p.Binaries, "binaries", "bin", "folder with PLATFORM/NAME")
	if err := flags.Parse(args); err != nil {
		return err
	}
	source, err := images.ParseSource(os.Getenv(images.SourceVar))
	if err != nil {
		return err
	}
	root, err := servers.ModuleDir(ctx)
	if err != nil {
		return err
	}
	if err := (images.Docker{}).Check(ctx); err != nil {
		return err
	}
	for _, platform := range strings.FieldsFunc(*platforms, func(r rune) bool { return r == ' ' || r == ',' }) {
		_, arch, ok := strings.Cut(platform, "/")
		if !ok || !strings.HasPrefix(platform, "linux/") {
			return fmt.Errorf("platform %q is not linux/ARCH", platform)
		}
		p.Suffix = ""
		if arch != runtime.GOARCH {
			p.Suffix = "-" + arch
		}
		b := &images.Builder{Root: root, Platform: platform, Source: source, Log: os.Stdout}
		if _, err := b.BuildProduct(ctx, p); err != nil {
			return err
		}
	}
	return nil
}
