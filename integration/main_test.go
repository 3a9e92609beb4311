// SPDX-License-Identifier: MPL-2.0

package integration

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"podplane/integration/consultest"
	"podplane/integration/envoybin"
	"podplane/integration/mesh"
)

// patience bounds what a test waits for. It is long because the machine may be
// slow; where a time is part of what is promised, the test measures it.
const patience = 60 * time.Second

// podplane is the binary under test, built with the race detector.
var podplane string

// getVar, if set, makes the test binary a program that asks the URL in it once: a command that is on every machine.
const getVar = "PODPLANE_TEST_GET"

func TestMain(m *testing.M) {
	if url := os.Getenv(getVar); url != "" {
		os.Exit(getOnce(url))
	}
	os.Exit(run(m))
}

// getOnce is the main of such a program.
func getOnce(url string) int {
	answer, err := mesh.Get(context.Background(), url)
	if err != nil || answer.Status != http.StatusOK {
		fmt.Fprintln(os.Stderr, answer.Status, answer.Body, err)
		return 1
	}
	fmt.Println(answer.Body)
	return 0
}

func run(m *testing.M) int {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "podplane-integration-")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		podplane, err = mesh.Build(ctx, dir, true)
	}
	var envoy envoybin.Envoy
	if err == nil {
		envoy, err = envoybin.Find(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("integration tests run with", envoy)
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	return code
}

// newMesh gives a mesh around a Consul cluster of the test's own.
func newMesh(t *testing.T, options consultest.Options) *mesh.Mesh {
	t.Helper()
	consul := consultest.New(t, options)
	m, err := mesh.New(t.Context(), consul, podplane)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(m.Output())
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// expectLine waits until the dataplane has written a line with these words.
func expectLine(t *testing.T, pod *mesh.Pod, words string) {
	t.Helper()
	within(t, patience, "the output says "+words, func(context.Context) bool {
		return strings.Contains(pod.Output(), words)
	})
}
