// SPDX-License-Identifier: MPL-2.0

package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"podplane/integration/servers"
)

// Source says where images come from.
type Source string

// The sources.
const (
	// Auto takes the registry where there is one, else makes images locally.
	Auto Source = "auto"
	// Registry takes the registry; that there is none is an error.
	Registry Source = "registry"
	// Local makes all images locally.
	Local Source = "local"
)

// SourceVar names the environment variable with the [Source].
const SourceVar = "PODPLANE_IMAGES"

// ParseSource reads a source; empty is [Auto].
func ParseSource(s string) (Source, error) {
	switch source := Source(s); source {
	case "":
		return Auto, nil
	case Auto, Registry, Local:
		return source, nil
	default:
		return "", fmt.Errorf("%s is %q, not %s, %s or %s", SourceVar, s, Auto, Registry, Local)
	}
}

// Builder gets images for one platform.
type Builder struct {
	// Root is the module's folder.
	Root string
	// Platform is "linux/" and Go's name of an architecture.
	Platform string
	// Source is where images come from.
	Source Source
	// Log gets lines for people.
	Log io.Writer

	docker      Docker
	unreachable error             // why no registry is asked any more
	made        map[string]string // what a local image is made of, for the labels
}

// Ensure makes sure that the engine has the image of the pin and gives its name there, which is another than the pin's
// where it was made locally.
func (b *Builder) Ensure(ctx context.Context, pin Pin) (string, error) {
	if b.Source == Local {
		return b.local(ctx, pin)
	}
	if b.docker.Has(ctx, pin.Image, b.Platform) {
		b.say("%s: %s, as the engine has it", pin.Name, pin.Image)
		return pin.Image, nil
	}
	err := b.unreachable
	if err == nil {
		if err = b.docker.pull(ctx, pin.Image, b.Platform); err == nil {
			b.say("%s: %s, pulled", pin.Name, pin.Image)
			return pin.Image, nil
		}
	}
	if b.Source == Registry || !errors.Is(err, errUnreachable) || ctx.Err() != nil {
		return "", err
	}
	if b.unreachable == nil {
		b.say("no registry: %v", err)
		b.unreachable = err
	}
	return b.local(ctx, pin)
}

// local makes the image of a pin from what is at hand.
func (b *Builder) local(ctx context.Context, pin Pin) (name string, err error) {
	recipe, ok := b.recipes()[pin.Name]
	if !ok {
		return "", fmt.Errorf("%s cannot be made locally", pin.Name)
	}
	dir, err := b.workDir()
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	r := rootfs{dir: filepath.Join(dir, "rootfs")}
	// A file that differs, because the classic builder's cache takes equal folders on nothing for the same image,
	// whatever their platforms.
	if err := errors.Join(r.mkdir("/", 0o755), r.write("/etc/platform", b.Platform+"\n")); err != nil {
		return "", err
	}
	lines, what, err := recipe(ctx, r)
	if err != nil {
		return "", fmt.Errorf("make %s locally: %w", pin.Name, err)
	}
	label, _, _ := strings.Cut(what, ": /") // the machine's paths are nobody's business
	// COPY comes first, because the classic builder gives an image on nothing the platform only if it does.
	dockerfile := "FROM scratch\nCOPY rootfs/ /\nLABEL podplane.local=" + fmt.Sprintf("%q", label) + "\n" + lines
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(dockerfile), 0o600); err != nil {
		return "", err
	}
	name = b.localName(pin.Name)
	if err := b.docker.Build(ctx, "--platform", b.Platform, "--tag", name, dir); err != nil {
		return "", fmt.Errorf("make %s locally: %w", pin.Name, err)
	}
	if b.made == nil {
		b.made = make(map[string]string)
	}
	b.made[name] = label
	b.say("%s: %s, made locally of %s", pin.Name, name, what)
	return name, nil
}

// workDir makes a folder in the cache, not in /tmp, which may be memory: a Consul is 120 MB.
func (b *Builder) workDir() (string, error) {
	cache, err := servers.CacheDir()
	if err != nil {
		return "", err
	}
	return os.MkdirTemp(cache, "image-")
}

func (b *Builder) localName(pin string) string {
	_, arch, _ := strings.Cut(b.Platform, "/")
	return "podplane-local/" + strings.ToLower(strings.TrimSuffix(pin, "_IMAGE")) + ":" + arch
}

func (b *Builder) say(format string, args ...any) {
	_, _ = fmt.Fprintf(b.Log, "%s %s\n", b.Platform, fmt.Sprintf(format, args...))
}
