// SPDX-License-Identifier: MPL-2.0

package envoybin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// Kind tells a real Envoy from the stand-in.
type Kind string

// The kinds of Envoy.
const (
	Real    Kind = "envoy"
	StandIn Kind = "stand-in"
)

// EnvVar names the environment variable whose value, if set, is the path of the Envoy to use.
const EnvVar = "ENVOY"

// Envoy is a program that can be run as Envoy.
type Envoy struct {
	// Path is where the program is.
	Path string
	// Kind says whether it is a real Envoy.
	Kind Kind
	// Version is what `--version` printed: the version number where one can be recognised, else the line.
	Version string
	// Chosen says why it is this one.
	Chosen Choice
}

// Choice is why a program was chosen, in words.
type Choice string

// The reasons for a choice.
const (
	Named   Choice = "named by $" + EnvVar
	OnPath  Choice = "the envoy on PATH"
	Default Choice = "$" + EnvVar + " is not set and no envoy is on PATH"
)

// String is one line for a report, for example "envoy 1.35.9 (real; the envoy on PATH): /usr/bin/envoy".
func (e Envoy) String() string {
	if e.Kind == StandIn {
		return fmt.Sprintf("envoy stand-in %s (no real Envoy; %s): %s", e.Version, e.Chosen, e.Path)
	}
	return fmt.Sprintf("envoy %s (real; %s): %s", e.Version, e.Chosen, e.Path)
}

// Find returns the Envoy to use: the one that $ENVOY names, else `envoy` on PATH, else the stand-in,
// built into the cache folder on first use. A broken $ENVOY is an error, not a reason to look further.
// The caller prints the result, so that each run says which Envoy it used.
func Find(ctx context.Context) (Envoy, error) {
	if path := os.Getenv(EnvVar); path != "" {
		return inspect(ctx, path, Named)
	}
	path, err := exec.LookPath("envoy")
	if err == nil {
		return inspect(ctx, path, OnPath)
	}
	if !errors.Is(err, exec.ErrNotFound) {
		return Envoy{}, fmt.Errorf("find envoy: %w", err)
	}
	path, err = buildStandIn(ctx)
	if err != nil {
		return Envoy{}, fmt.Errorf("build envoy stand-in: %w", err)
	}
	return inspect(ctx, path, Default)
}

// versionTimeout is generous: a real Envoy is 100 MB and may come from a cold disk.
const versionTimeout = 20 * time.Second

// standInMark is what the stand-in's version line carries and a real Envoy's does not.
const standInMark = "stand-in"

func inspect(ctx context.Context, path string, chosen Choice) (Envoy, error) {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").CombinedOutput()
	if err != nil {
		return Envoy{}, fmt.Errorf("ask %s for its version: %w", path, err)
	}
	text := strings.TrimSpace(string(out))
	kind := Real
	if strings.Contains(strings.ToLower(text), standInMark) {
		kind = StandIn
	}
	return Envoy{Path: path, Kind: kind, Version: version(text), Chosen: chosen}, nil
}

// version finds the number in Envoy's version line:
// "envoy  version: <commit>/1.35.9/Clean/RELEASE/BoringSSL".
func version(text string) string {
	if m := regexp.MustCompile(`\b\d+\.\d+\.\d+[-.\w]*`).FindString(text); m != "" {
		return m
	}
	line, _, _ := strings.Cut(text, "\n")
	return line
}
