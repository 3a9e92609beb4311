// SPDX-License-Identifier: MPL-2.0

package images

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

const (
	// quickTimeout bounds a question to the engine.
	quickTimeout = time.Minute
	// buildTimeout bounds the making of one image, which is copying files.
	buildTimeout = 10 * time.Minute
	// interruptGrace is how long docker may take to end after an interrupt.
	interruptGrace = 10 * time.Second
)

// Docker is Docker's command line. The zero value is ready.
type Docker struct{}

// Run runs docker with the arguments and gives its standard output, trimmed. The error carries what it said on
// standard error.
func (Docker) Run(ctx context.Context, args ...string) (string, error) {
	return command(ctx, quickTimeout, nil, args...)
}

func command(ctx context.Context, timeout time.Duration, env []string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = interruptGrace
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("docker %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(stdout.String()), nil
}

// Check says whether there is an engine, and if not, why not.
func (d Docker) Check(ctx context.Context) error {
	if _, err := d.Run(ctx, "version", "--format", "{{.Server.Version}}"); err != nil {
		return fmt.Errorf("no Docker engine: %w", err)
	}
	return nil
}

// Has says whether the engine has the image, for the platform.
func (d Docker) Has(ctx context.Context, image, platform string) bool {
	got, err := d.Run(ctx, "image", "inspect", "--format", "{{.Os}}/{{.Architecture}}", image)
	return err == nil && got == platform
}

// Build builds an image with BuildKit where buildx is installed, else with the classic builder. args are those of
// `docker build`; the last is the context.
func (d Docker) Build(ctx context.Context, args ...string) error {
	front, env := []string{"build"}, []string{"DOCKER_BUILDKIT=0"}
	if _, err := d.Run(ctx, "buildx", "version"); err == nil {
		// The engine's own builder: another one would not see the images that were made locally.
		front, env = []string{"buildx", "build", "--builder", "default", "--load"}, nil
	}
	_, err := command(ctx, buildTimeout, env, append(front, args...)...)
	return err
}

// errUnreachable is wrapped by pull where no registry answered.
var errUnreachable = errors.New("no registry is reachable")

// The times of a pull: a registry that says nothing at all for the first is not there; one that is slow may take the
// second.
const (
	answerTimeout = 20 * time.Second
	pullTimeout   = 15 * time.Minute
)

// pull pulls an image. Whether a registry is there at all shows at docker's first line, which comes with the manifest.
func (d Docker) pull(ctx context.Context, image, platform string) error {
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	first := &firstWrite{seen: make(chan struct{})}
	silent := time.AfterFunc(answerTimeout, func() {
		select {
		case <-first.seen:
		default:
			cancel()
		}
	})
	defer silent.Stop()
	cmd := exec.CommandContext(ctx, "docker", "pull", "--platform", platform, image)
	cmd.WaitDelay = interruptGrace
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = first, &stderr
	err := cmd.Run()
	if err == nil {
		return nil
	}
	said := strings.TrimSpace(stderr.String())
	select {
	case <-first.seen:
		return fmt.Errorf("pull %s: %w: %s", image, err, said)
	default:
	}
	if answered(said) {
		return fmt.Errorf("pull %s: %s", image, said)
	}
	if said == "" {
		said = "no answer within " + answerTimeout.String()
	}
	return fmt.Errorf("pull %s: %w: %s", image, errUnreachable, said)
}

// answered says whether docker's complaint is a registry's answer. The engine has no code for it.
func answered(said string) bool {
	for _, words := range []string{"manifest unknown", "manifest for", "not found: manifest", "repository does not exist",
		"denied", "unauthorized", "toomanyrequests", "no matching manifest"} {
		if strings.Contains(said, words) {
			return true
		}
	}
	return false
}

// firstWrite closes seen at the first write, and drops what is written.
type firstWrite struct {
	seen chan struct{}
	once bool
}

// Write implements io.Writer, for one goroutine.
func (f *firstWrite) Write(b []byte) (int, error) {
	if !f.once {
		f.once = true
		close(f.seen)
	}
	return len(b), nil
}
