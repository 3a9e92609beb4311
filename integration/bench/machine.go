// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"podplane/integration/bench/report"
)

// inspectMachine says where this runs. What cannot be found out stays empty.
func inspectMachine() report.Machine {
	m := report.Machine{CPUs: runtime.NumCPU(), Go: runtime.Version(), CPU: "unknown", Kernel: "unknown"}
	if kib, err := field("/proc/meminfo", "MemTotal"); err == nil {
		m.MemoryMiB = int(kib / 1024)
	}
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "model name" {
				m.CPU = strings.Join(strings.Fields(value), " ")
				break
			}
		}
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(release))
	}
	return m
}

// binary is a dataplane to be measured.
type binary struct {
	report.Binary
	bytes int64
}

// inspect finds out what there is to know of a binary without starting a
// dataplane.
func inspect(ctx context.Context, path string) (binary, error) {
	path, err := exec.LookPath(path)
	if err != nil {
		return binary{}, err
	}
	if path, err = filepath.Abs(path); err != nil {
		return binary{}, err
	}
	b := binary{Binary: report.Binary{Name: filepath.Base(path), Path: path, Version: versionOf(ctx, path)}}
	file, err := os.Open(path)
	if err != nil {
		return binary{}, err
	}
	defer func() { _ = file.Close() }()
	sum := sha256.New()
	if b.bytes, err = io.Copy(sum, file); err != nil {
		return binary{}, fmt.Errorf("read %s: %w", path, err)
	}
	b.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return b, nil
}

// versionOf is the first line of `-version`.
func versionOf(ctx context.Context, path string) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "-version")
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if err != nil || first == "" {
		return "version unknown"
	}
	return first
}

// inspectAll gives the binaries names of their own.
func inspectAll(ctx context.Context, paths ...string) ([]binary, error) {
	var all []binary
	for _, path := range paths {
		b, err := inspect(ctx, path)
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	if len(all) == 2 && all[0].Name == all[1].Name {
		all[0].Name += " (bin)"
		all[1].Name += " (vs)"
	}
	return all, nil
}
