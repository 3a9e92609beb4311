// SPDX-License-Identifier: MPL-2.0

package proc

import (
	"bytes"
	"fmt"
	"os"
	"sync"
)

// keep is how much of a process's output is kept in memory, in bytes. Between two
// cuts it may be twice as much.
const keep = 256 << 10

// output takes what a process writes. It never fails: a process whose writes fail
// would end by SIGPIPE, and the test would look for a fault that is not there.
type output struct {
	mu   sync.Mutex
	buf  []byte
	file *os.File // nil: the end in memory is all there is
}

// openOutput appends to path as well, unless it is empty.
func openOutput(path string) (*output, error) {
	if path == "" {
		return &output{}, nil
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &output{file: file}, nil
}

// Write implements io.Writer.
func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.append(b)
	if o.file != nil {
		if _, err := o.file.Write(b); err != nil {
			o.append(fmt.Appendf(nil, "\n[the log file ends here: %v]\n", err))
			o.closeFile()
		}
	}
	return len(b), nil
}

func (o *output) append(b []byte) {
	o.buf = append(o.buf, b...)
	if len(o.buf) > 2*keep {
		o.buf = append(o.buf[:0], o.buf[len(o.buf)-keep:]...)
	}
}

// close is called when the process has ended.
func (o *output) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closeFile()
}

func (o *output) closeFile() {
	if o.file != nil {
		_ = o.file.Close() // a log of a test; the memory has its end
		o.file = nil
	}
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.buf)
}

// tail is the end of the output, at most n bytes, from the start of a line where
// there is one.
func (o *output) tail(n int) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.buf) <= n {
		return string(o.buf)
	}
	cut := len(o.buf) - n
	if i := bytes.IndexByte(o.buf[cut-1:len(o.buf)-1], '\n'); i >= 0 {
		cut += i
	}
	return string(o.buf[cut:])
}
