// SPDX-License-Identifier: MPL-2.0

package selfregister

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// jsonReader reads tokens and knows their lines.
type jsonReader struct {
	file    string
	data    []byte
	decoder *json.Decoder
	counted int64 // bytes whose newlines are in line
	line    int
}

func parseJSON(file string, data []byte) (element, error) {
	r := &jsonReader{file: file, data: data, decoder: json.NewDecoder(bytes.NewReader(data)), line: 1}
	r.decoder.UseNumber()
	e, err := r.value(0)
	if err != nil {
		return element{}, err
	}
	if _, err := r.decoder.Token(); !errors.Is(err, io.EOF) {
		return element{}, r.fail("there is more after the end of the object")
	}
	return e, nil
}

func (r *jsonReader) token() (json.Token, error) {
	token, err := r.decoder.Token()
	end := min(r.decoder.InputOffset(), int64(len(r.data)))
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		end = min(syntax.Offset, int64(len(r.data)))
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		end = int64(len(r.data))
	}
	if end > r.counted {
		r.line += bytes.Count(r.data[r.counted:end], []byte("\n"))
		r.counted = end
	}
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, r.fail("the file ends too early")
	case err != nil:
		return nil, r.fail(err.Error())
	}
	return token, nil
}

func (r *jsonReader) fail(text string) error { return &fileError{r.file, r.line, "JSON: " + text} }

func (r *jsonReader) value(depth int) (element, error) {
	if depth > maxDepth {
		return element{}, r.fail(fmt.Sprintf("nested more than %d deep", maxDepth))
	}
	token, err := r.token()
	if err != nil {
		return element{}, err
	}
	e := element{line: r.line}
	switch v := token.(type) {
	case json.Delim:
		switch v {
		case '{':
			return r.object(e, depth)
		case '[':
			return r.array(e, depth)
		}
		return element{}, r.fail(fmt.Sprintf("%q is not expected here", v.String()))
	case json.Number:
		if n, err := v.Int64(); err == nil {
			e.scalar = n
		} else if f, err := v.Float64(); err == nil {
			e.scalar = f
		} else {
			return element{}, r.fail(fmt.Sprintf("the number %s is too large", v))
		}
	default:
		e.scalar = v
	}
	return e, nil
}

func (r *jsonReader) object(e element, depth int) (element, error) {
	e.kind = objectKind
	seen := map[string]bool{}
	for r.decoder.More() {
		token, err := r.token()
		if err != nil {
			return e, err
		}
		key, _ := token.(string)
		if seen[key] {
			return e, r.fail(fmt.Sprintf("the key %q is there twice", key))
		}
		seen[key] = true
		line := r.line
		value, err := r.value(depth + 1)
		if err != nil {
			return e, err
		}
		e.members = append(e.members, member{key, line, value})
	}
	_, err := r.token()
	return e, err
}

func (r *jsonReader) array(e element, depth int) (element, error) {
	e.kind = listKind
	for r.decoder.More() {
		value, err := r.value(depth + 1)
		if err != nil {
			return e, err
		}
		e.list = append(e.list, value)
	}
	_, err := r.token()
	return e, err
}
