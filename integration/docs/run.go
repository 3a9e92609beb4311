// SPDX-License-Identifier: MPL-2.0

package docs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"

	"podplane/integration/mesh"
	"podplane/integration/proc"
)

// Place is where commands run.
type Place struct {
	// Dir is the working folder, Env the whole environment.
	Dir string
	Env []string
	// End ends what serves, as its users would. It is called once it serves.
	End func(context.Context) error
}

// Run runs a block. It returns its output, and why it is not as the page says. Nothing of the block is left running when
// ctx is done, or it has ended.
func (b Block) Run(ctx context.Context, place Place) (string, error) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		return "", err
	}
	process, err := proc.Start(proc.Spec{
		Name: b.String(), Dir: place.Dir, Env: place.Env,
		// Each line counts, and each part of one.
		Args: []string{bash, "-euo", "pipefail", "-c", b.Text},
	})
	if err != nil {
		return "", err
	}
	defer process.Kill()
	if b.Serves != "" {
		if err := b.awaitServing(ctx, process); err != nil {
			process.Kill()
			return process.Output(), err
		}
		if err := place.End(ctx); err != nil {
			process.Kill()
			return process.Output(), fmt.Errorf("end it: %w", err)
		}
	}
	select {
	case <-process.Done():
	case <-ctx.Done():
		process.Kill()
		return process.Output(), errors.New("it does not end")
	}
	return process.Output(), b.judge(process.ExitCode(), process.Output())
}

func (b Block) awaitServing(ctx context.Context, process *proc.Process) error {
	var last string
	err := mesh.Until(ctx, func(ctx context.Context) bool {
		answer, err := mesh.Get(ctx, b.Serves)
		switch {
		case err == nil:
			last = fmt.Sprint(answer.Status, " ", answer.Body)
		case ctx.Err() == nil: // else it says that there is no more time, and not why
			last = err.Error()
		}
		return !process.Running() || err == nil && answer.Status == http.StatusOK
	})
	if err != nil {
		return fmt.Errorf("%s does not answer 200: %s", b.Serves, last)
	}
	if !process.Running() {
		return fmt.Errorf("it ended with code %d before %s answered 200", process.ExitCode(), b.Serves)
	}
	return nil
}

func (b Block) judge(code int, output string) error {
	if code != 0 {
		return fmt.Errorf("exit code %d", code)
	}
	for _, text := range b.Prints {
		if !strings.Contains(output, text) {
			return fmt.Errorf("it does not print %q", text)
		}
	}
	return nil
}
