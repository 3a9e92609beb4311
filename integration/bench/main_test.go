// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// TestMain lets the test binary play the roles, as the program does.
func TestMain(m *testing.M) {
	if err, isRole := play(context.Background(), os.Args); isRole {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	var err error
	if dir, err = os.MkdirTemp("", "podplane-bench-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// dir is for what TestMain removes.
var dir string

// build makes the podplane that tests measure, as `make build` does, so that it is
// only linked anew.
var build = sync.OnceValues(func() (path string, err error) {
	path = filepath.Join(dir, "podplane")
	cmd := exec.Command("go", "build", "-tags", "hashicorpmetrics,grpcnotrace,nethttpomithttp2", "-trimpath",
		"-ldflags", "-s -w", "-o", path, "podplane/cmd/podplane")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build podplane: %w\n%s", err, out)
	}
	return path, nil
})

func podplane(t *testing.T) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// script makes a dataplane of a shell script.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "dataplane")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}
