// SPDX-License-Identifier: MPL-2.0

package exposition

import (
	"errors"
	"fmt"
	"io"
)

// The errors of Read, besides SyntaxError and those of the reader.
var (
	// ErrTooLarge: more than Options.MaxBytes, a line longer than two MiB, or
	// more than 50,000 families.
	ErrTooLarge = errors.New("exposition too large")
	// ErrTruncated: OpenMetrics without the "# EOF" that must end it.
	ErrTruncated = errors.New("exposition ends before its end marker")
)

// SyntaxError says where a source stopped being an exposition.
type SyntaxError struct {
	Line int // counted from 1
	Err  error
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns what is wrong with the line.
func (e *SyntaxError) Unwrap() error { return e.Err }

// Options are what Read may use.
type Options struct {
	MaxBytes int64 // of the source; 0: no bound
	Pool     *Pool // of the memory; nil: it is mapped anew
}

// Exposition is one source, read and valid. Its memory is not the garbage
// collector's: Close it.
type Exposition struct {
	format   Format
	chunks   []*chunk
	families families
	bytes    int64
	samples  int
}

// Format returns the format that the source was in.
func (e *Exposition) Format() Format { return e.format }

// Bytes returns how many bytes the source sent.
func (e *Exposition) Bytes() int64 { return e.bytes }

// Samples returns how many samples the source sent.
func (e *Exposition) Samples() int { return e.samples }

// Close gives the memory back. Nothing that was merged from e may be written
// afterwards. Closing twice is harmless.
func (e *Exposition) Close() {
	for _, c := range e.chunks {
		c.free()
	}
	e.chunks, e.families.list, e.families.byName = nil, nil, nil
}

// Read takes the whole of r, which is in the given format, and checks it. On an
// error it has given back what it took: a source is valid as a whole or
// nothing of it is kept. An OpenMetrics source must end in "# EOF".
func Read(r io.Reader, format Format, opts Options) (*Exposition, error) {
	e := &Exposition{
		format:   format,
		families: families{format: format, byName: make(map[string]*family)},
	}
	s := newScanner(e)
	if err := e.fill(r, s, opts); err != nil {
		e.Close()
		return nil, err
	}
	e.samples = s.samples
	return e, nil
}

// fill reads r into chunks, and has the whole lines scanned meanwhile.
func (e *Exposition) fill(r io.Reader, s *scanner, opts Options) (err error) {
	p := pipeline{scanner: s}
	defer func() {
		if scanErr := p.wait(); scanErr != nil {
			err = scanErr // It came before the error of reading, if there is one.
		}
		if err == nil && e.format == OpenMetrics && !s.eof {
			err = ErrTruncated
		}
	}()
	c, err := e.addChunk(nil, 0, opts.Pool)
	if err != nil {
		return err
	}
	scanned := 0 // the bytes of c that were submitted
	for !p.failed.Load() {
		n, readErr := r.Read(c.space())
		c.n += n
		e.bytes += int64(n)
		if opts.MaxBytes > 0 && e.bytes > opts.MaxBytes {
			return ErrTooLarge
		}
		if readErr == io.EOF {
			p.finish(c, scanned)
			return nil
		}
		if readErr != nil {
			return readErr
		}
		full := len(c.space()) == 0
		if full || c.n-scanned >= windowSize {
			scanned = p.submit(c, scanned)
		}
		if full {
			next, err := e.addChunk(c, scanned, opts.Pool)
			if err != nil {
				return err
			}
			c, scanned = next, 0
		}
	}
	return nil
}

// addChunk maps the chunk after c. The line that has begun in c moves to it.
func (e *Exposition) addChunk(c *chunk, scanned int, pool *Pool) (*chunk, error) {
	size := minChunk
	if c != nil {
		if size = min(chunkGrowth*len(c.data), maxChunk); scanned == 0 && size == len(c.data) {
			return nil, ErrTooLarge
		}
	}
	next, err := newChunk(size, pool)
	if err != nil {
		return nil, err
	}
	e.chunks = append(e.chunks, next)
	if c != nil {
		next.n = copy(next.data, c.data[scanned:c.n])
		c.n = scanned
	}
	return next, nil
}
