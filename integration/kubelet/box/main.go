// SPDX-License-Identifier: MPL-2.0

// Command box is what runs in the containers of package kubelet before and beside the programs that are tested.
//
//	box run SPEC    puts up the container that the JSON file describes and becomes its program
//	box exec SPEC   runs a command in a container that runs
//
// Under other names it is the program of an image, see apps.go.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"podplane/integration/kubelet/container"
)

// cannotStart is the exit code of a container that could not be put up, as Docker's.
const cannotStart = 125

func main() {
	name, args := filepath.Base(os.Args[0]), os.Args[1:]
	if app, ok := apps()[name]; ok {
		os.Exit(app(context.Background(), args))
	}
	if len(args) == 2 && (args[0] == "run" || args[0] == "exec") {
		err := enter(args[0], args[1])
		fmt.Fprintln(os.Stderr, "box:", err)
		os.Exit(cannotStart)
	}
	fmt.Fprintln(os.Stderr, "usage: box run|exec SPEC")
	os.Exit(2)
}

// enter comes back only with an error.
func enter(verb, path string) error {
	// Namespaces and capabilities belong to a thread, and exec keeps those of the one that calls it.
	runtime.LockOSThread()
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var spec container.Spec
	if err := json.Unmarshal(data, &spec); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if verb == "exec" {
		return spec.Exec()
	}
	return errors.Join(spec.Run())
}
