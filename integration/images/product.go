// SPDX-License-Identifier: MPL-2.0

package images

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Product says which of the product's images to build.
type Product struct {
	// Tag is that of the images, without the architecture.
	Tag string
	// Version, Revision and Created go into the labels.
	Version, Revision, Created string
	// Binaries is the folder, from the module's root, that has PLATFORM/NAME.
	Binaries string
	// Suffix is appended to the tag: "-arm64" for a platform that is not the machine's.
	Suffix string
}

// targets are those of the Dockerfile, each named like the binary in it.
func targets() []string { return []string{"podplane", "podplane-injector", "podplane-example"} }

// BuildProduct builds the images of the product whose binaries there are, and gives their names.
func (b *Builder) BuildProduct(ctx context.Context, p Product) ([]string, error) {
	pins, err := ReadPins(b.Root)
	if err != nil {
		return nil, err
	}
	var bases [2]string
	for i, name := range []string{Envoy, Base} {
		image, err := Find(pins, name)
		if err != nil {
			return nil, err
		}
		if bases[i], err = b.Ensure(ctx, Pin{Name: name, Image: image}); err != nil {
			return nil, err
		}
	}
	var names []string
	for _, target := range targets() {
		binary := filepath.Join(b.Root, p.Binaries, b.Platform, target)
		if _, err := os.Stat(binary); errors.Is(err, fs.ErrNotExist) {
			b.say("%s: not built, there is no %s", target, binary)
			continue
		}
		name := target + ":" + p.Tag + p.Suffix
		if err := b.docker.Build(ctx, p.args(b, target, name, bases)...); err != nil {
			return nil, fmt.Errorf("image %s: %w", name, err)
		}
		size, err := b.docker.Run(ctx, "image", "inspect", "--format", "{{.Size}}", name)
		if err != nil {
			return nil, err
		}
		b.say("%s: built, %s bytes", name, size)
		names = append(names, name)
	}
	if len(names) == 0 {
		return nil, errors.New("no binary is there: `make image-binaries` builds them")
	}
	return names, nil
}

func (p Product) args(b *Builder, target, name string, bases [2]string) []string {
	args := []string{"--platform", b.Platform, "--target", target, "--tag", name}
	for _, arg := range []string{
		Envoy + "=" + bases[0], Base + "=" + bases[1], "TARGETPLATFORM=" + b.Platform, "BINARIES=" + strings.TrimSuffix(p.Binaries, "/"),
		"VERSION=" + p.Version, "REVISION=" + p.Revision, "CREATED=" + p.Created,
	} {
		args = append(args, "--build-arg", arg)
	}
	if what := b.made[bases[0]]; what != "" && target == "podplane" {
		args = append(args, "--label", "podplane.envoy="+what)
	}
	return append(args, "--file", filepath.Join(b.Root, "Dockerfile"), b.Root)
}
