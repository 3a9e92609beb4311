// SPDX-License-Identifier: MPL-2.0

// Package logtest has the output that tests give to what they run.
package logtest

import (
	"strings"
	"sync"
)

// Buffer keeps what is written to it, and may be read meanwhile. The zero value is empty.
type Buffer struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String is all that has been written so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
