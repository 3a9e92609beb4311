// SPDX-License-Identifier: MPL-2.0

package images

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"podplane/integration/envoybin"
	"podplane/integration/servers"
)

// A local image is a folder and these lines.
const nonRoot = "USER 65532:65532\n"

const path = "ENV PATH=/usr/local/bin:/usr/bin:/bin\n"

// caBundle is where the machine and the image have the CAs that they trust.
const caBundle = "/etc/ssl/certs/ca-certificates.crt"

// recipe fills a folder and gives the lines of the Dockerfile below `FROM scratch` and `COPY`, and a sentence on what
// the image is made of.
type recipe func(ctx context.Context, r rootfs) (lines, what string, err error)

// recipes are the images that can be made locally.
func (b *Builder) recipes() map[string]recipe {
	return map[string]recipe{
		Envoy:      b.envoy,
		Base:       b.base,
		Consul:     b.server(servers.Consul(), "/bin/consul"),
		Prometheus: b.server(servers.Prometheus(), "/bin/prometheus"),
		Curl:       b.curl,
	}
}

func (b *Builder) envoy(ctx context.Context, r rootfs) (lines, what string, err error) {
	envoy, err := b.findEnvoy(ctx)
	if err != nil {
		return "", "", err
	}
	if envoy.what == "" { // to be compiled for another architecture
		envoy.what = "the stand-in for Envoy, built for " + b.Platform
		return "", envoy.what, b.compile(ctx, "./integration/standin", r, "/usr/local/bin/envoy")
	}
	return "", envoy.what, r.program(envoy.path, "/usr/local/bin/envoy")
}

// foundEnvoy is the machine's Envoy, if it is for the platform.
type foundEnvoy struct{ path, what string }

// findEnvoy gives the Envoy for the platform; an empty one if there is none and the stand-in is to be compiled.
func (b *Builder) findEnvoy(ctx context.Context) (foundEnvoy, error) {
	envoy, err := envoybin.Find(ctx)
	if err != nil {
		return foundEnvoy{}, err
	}
	arch, err := architecture(envoy.Path)
	if err != nil {
		return foundEnvoy{}, err
	}
	if "linux/"+arch != b.Platform {
		return foundEnvoy{}, nil
	}
	return foundEnvoy{path: envoy.Path, what: envoy.String()}, nil
}

// base is what the product's images stand on. An Envoy that is linked dynamically brings its libraries here.
func (b *Builder) base(ctx context.Context, r rootfs) (lines, what string, err error) {
	what = "a user"
	users := "root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n"
	err = errors.Join(
		r.write("/etc/passwd", users),
		r.write("/etc/group", "root:x:0:\nnonroot:x:65532:\n"),
		r.write("/etc/nsswitch.conf", "hosts: files dns\n"),
		r.mkdir("/tmp", 0o777|fs.ModeSticky))
	if err != nil {
		return "", "", err
	}
	if _, err := os.Stat(caBundle); err == nil {
		what += " and this machine's CA certificates"
		if err := r.add(caBundle, caBundle, 0o644); err != nil {
			return "", "", err
		}
	}
	envoy, err := b.findEnvoy(ctx)
	if err != nil || envoy.path == "" {
		return nonRoot + path, what, err
	}
	if dynamic, err := isDynamic(envoy.path); err != nil || !dynamic {
		return nonRoot + path, what, err
	}
	return nonRoot + path, what + ", and the libraries of Envoy", r.libraries(ctx, envoy.path)
}

// server makes an image of a test server. They are for tests: Consul's licence forbids to pass it on like this.
func (b *Builder) server(s servers.Server, target string) recipe {
	return func(ctx context.Context, r rootfs) (lines, what string, err error) {
		binary, err := s.Build(ctx, b.Log)
		if err != nil {
			return "", "", err
		}
		if err := errors.Join(r.program(binary, target), r.libraries(ctx, binary), r.mkdir("/tmp", 0o777|fs.ModeSticky)); err != nil {
			return "", "", err
		}
		return fmt.Sprintf("%s%sENTRYPOINT [%q]\n", nonRoot, path, target),
			fmt.Sprintf("the test server %s %s; for tests on this machine, not to be passed on", s.Name, s.Version), nil
	}
}

func (b *Builder) curl(ctx context.Context, r rootfs) (lines, what string, err error) {
	lines = nonRoot + path + "ENTRYPOINT [\"curl\"]\n"
	program, err := exec.LookPath("curl")
	if err != nil {
		return lines, "a stand-in for curl, since there is none on this machine",
			b.compile(ctx, "./integration/compose/app", r, "/usr/bin/curl")
	}
	return lines, program + " and its libraries",
		errors.Join(r.program(program, "/usr/bin/curl"), r.libraries(ctx, program))
}

// compile builds a package of this module for the platform.
func (b *Builder) compile(ctx context.Context, pkg string, r rootfs, target string) error {
	if err := r.mkdir(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	full := filepath.Join(r.dir, target)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", full, pkg)
	cmd.Dir = b.Root
	_, arch, _ := strings.Cut(b.Platform, "/")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("compile %s for %s: %w: %s", pkg, b.Platform, err, strings.TrimSpace(string(out)))
	}
	return os.Chmod(full, 0o755)
}
