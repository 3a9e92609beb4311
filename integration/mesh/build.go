// SPDX-License-Identifier: MPL-2.0

package mesh

import (
	"context"
	"fmt"
	"os"
	"os/exec"
)

// goBuild runs the go command. Without the race detector the binary is static,
// as the shipped one is.
func goBuild(ctx context.Context, dir string, args []string, race bool) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = os.Environ()
	if !race {
		cmd.Env = append(cmd.Env, "CGO_ENABLED=0")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %v: %w\n%s", args, err, out)
	}
	return nil
}
