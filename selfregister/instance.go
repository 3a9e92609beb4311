// SPDX-License-Identifier: MPL-2.0

package selfregister

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
)

// machineIDFile holds what tells a machine from others, clones aside.
// https://www.freedesktop.org/software/systemd/man/latest/machine-id.html
const machineIDFile = "/etc/machine-id"

// Instance makes the mark of whoever registers by this file on this machine. It
// is the same at the next start, and another one on another machine or for
// another file. The machine's ID cannot be learnt from it.
func Instance(serviceFile string) string {
	id, _ := os.ReadFile(machineIDFile) // not everywhere
	// Containers of one image may share a file with an ID, and clones do, too.
	host, _ := os.Hostname()
	return instanceOf(strings.TrimSpace(string(id)), host, serviceFile)
}

func instanceOf(machineID, host, serviceFile string) string {
	if abs, err := filepath.Abs(serviceFile); err == nil {
		serviceFile = abs
	}
	mac := hmac.New(sha256.New, []byte(machineID))
	mac.Write([]byte("podplane service file\n" + host + "\n" + serviceFile))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}
