// SPDX-License-Identifier: MPL-2.0

package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// maxFileSize bounds the files that are read, in bytes. It is far above any real
// configuration and keeps a wrong path from filling the memory.
const maxFileSize = 1 << 20

// readFile reads the JSON file that the flags name, if any.
func (l *loader) readFile(flags []given) []given {
	var file given
	for _, g := range flags {
		if g.setting.Flag == "config-file" {
			file = g
		}
	}
	switch {
	case file.source == "":
		return nil
	case !strings.HasSuffix(file.text, ".json"):
		l.report(file, "must be the path of a file whose name ends in .json")
		return nil
	}
	data, err := readLimited(file.text)
	if err != nil {
		l.report(file, err.Error())
		return nil
	}
	return l.parseFile(file.text, data)
}

// readLimited reads a small file. Its error completes "this path …".
func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path) // #nosec G304 -- the operator chooses the path
	if err != nil {
		return nil, cannotRead(err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	switch {
	case err != nil:
		return nil, cannotRead(err)
	case len(data) > maxFileSize:
		return nil, fmt.Errorf("is larger than %d bytes", maxFileSize)
	}
	return data, nil
}

// cannotRead leaves out the path, which the problem has already.
func cannotRead(err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		err = pathErr.Err
	}
	return fmt.Errorf("cannot be read: %w", err)
}

// parseFile finds the table's keys in the file's contents.
func (l *loader) parseFile(path string, data []byte) []given {
	w := &fileWalker{loader: l, source: "config file " + path, keys: map[string]Setting{}, spelling: map[string]string{}}
	for _, s := range l.table {
		w.learn(s)
	}
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil {
		l.add(Problem{Source: w.source + position(data, err), Reason: "is not JSON: " + err.Error()})
		return nil
	}
	w.object("", bytes.TrimSpace(whole))
	return w.layer
}

// position renders where a syntax error is, as ":line:column".
func position(data []byte, err error) string {
	syntax, ok := errors.AsType[*json.SyntaxError](err)
	if !ok || syntax.Offset < 1 || syntax.Offset > int64(len(data)) {
		return ""
	}
	// Offset counts the bytes read, so the faulty one is before it.
	before := data[:syntax.Offset-1]
	line := bytes.Count(before, []byte("\n")) + 1
	return fmt.Sprintf(":%d:%d", line, len(before)-bytes.LastIndexByte(before, '\n'))
}

// fileWalker descends into the file's objects, as deep as the table goes.
type fileWalker struct {
	*loader
	source string
	keys   map[string]Setting // settings by path
	// paths are those of settings and groups in the table's order, and spelling
	// finds them by their lower-case form: upper and lower case count as the
	// same, as for encoding/json, so that existing files keep working.
	paths    []string
	spelling map[string]string
	layer    []given
}

// learn notes the key of a setting and the groups that it is in.
func (w *fileWalker) learn(s Setting) {
	if s.Key == "" {
		return
	}
	w.keys[s.Key] = s
	for i, c := range s.Key + "." {
		path := s.Key[:i]
		if _, known := w.spelling[strings.ToLower(path)]; c == '.' && !known {
			w.paths = append(w.paths, path)
			w.spelling[strings.ToLower(path)] = path
		}
	}
}

// object takes the members of one object. It reads tokens, because a map would
// hide keys that are there twice. raw is valid JSON without space around it.
func (w *fileWalker) object(path string, raw json.RawMessage) {
	if string(raw) == "null" {
		return // as absent, like everywhere in encoding/json
	}
	if raw[0] != '{' {
		w.fault(path, jsonMustBe("a JSON object", raw).Error())
		return
	}
	seen := map[string]bool{}
	dec := json.NewDecoder(bytes.NewReader(raw))
	_, _ = dec.Token() // the opening brace
	for dec.More() {
		var value json.RawMessage
		name, err := dec.Token()
		if err == nil {
			err = dec.Decode(&value)
		}
		if err != nil {
			w.fault(path, "is not JSON: "+err.Error())
			return
		}
		if len(w.problems) > maxFaults {
			return // more of them would help nobody
		}
		key := join(path, fmt.Sprint(name))
		if known, ok := w.spelling[strings.ToLower(key)]; ok {
			key = known
		}
		if seen[key] {
			w.fault(key, "is there twice")
			continue
		}
		seen[key] = true
		w.member(key, value)
	}
}

// maxFaults ends the search for problems in a file that is something else.
const maxFaults = 50

func (w *fileWalker) member(key string, raw json.RawMessage) {
	s, isSetting := w.keys[key]
	_, known := w.spelling[strings.ToLower(key)]
	switch {
	case !known:
		w.fault(key, w.unknownKey(key))
	case !isSetting:
		w.object(key, raw)
	case string(raw) != "null" && string(raw) != `""`: // these count as unset, like an empty variable
		w.layer = append(w.layer, given{setting: s, source: w.at(key), raw: raw})
	}
}

// unknownKey says why a key is refused and what may have been meant: one spelled
// alike, or one of the same name elsewhere.
func (w *fileWalker) unknownKey(key string) string {
	near := closest(key, w.paths)
	name := key[strings.LastIndexByte(key, '.')+1:]
	for _, s := range w.table {
		if near == "" && s.Key != "" && strings.EqualFold(s.Key[strings.LastIndexByte(s.Key, '.')+1:], name) {
			near = s.Key
		}
	}
	if near == "" {
		return "unknown key"
	}
	return "unknown key; did you mean " + near + "?"
}

func (w *fileWalker) fault(key, reason string) {
	w.add(Problem{Setting: w.keys[key].Flag, Source: w.at(key), Reason: reason})
}

// at is the source of the value under a key.
func (w *fileWalker) at(key string) string {
	if key == "" {
		return w.source
	}
	return w.source + " key " + oneLine(key)
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
