// SPDX-License-Identifier: MPL-2.0

package companion

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// WriteProxyIDs writes the files that consul-dataplane reads its proxy's ID from:
// one for each argument of the form PATH=CONTENT. They appear as a whole, and
// everybody in the pod may read them.
func WriteProxyIDs(args []string) error {
	if len(args) == 0 {
		return errors.New("say what to write: PATH=ID …")
	}
	for _, arg := range args {
		path, id, ok := strings.Cut(arg, "=")
		if !ok || !filepath.IsAbs(path) || id == "" {
			return fmt.Errorf("%q is not of the form /PATH=ID", arg)
		}
		if err := writeFile(path, id); err != nil {
			return fmt.Errorf("write proxy id: %w", err)
		}
	}
	return nil
}

// writeFile replaces a file at once.
func writeFile(path, content string) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), ".proxyid-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name())
		}
	}()
	_, err = file.WriteString(content)
	const readable = 0o444
	err = errors.Join(err, file.Chmod(readable), file.Close())
	if err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
