// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// jsonSpace is white space as JSON knows it.
const jsonSpace = " \t\r\n"

func isBlank(s string) bool { return strings.Trim(s, jsonSpace) == "" }

// parseObject checks that s is one JSON object.
func parseObject(s string) (json.RawMessage, error) {
	if err := checkJSON(s, 0); err != nil {
		return nil, err
	}
	s = strings.Trim(s, jsonSpace)
	if !strings.HasPrefix(s, "{") {
		return nil, errors.New("is not a JSON object")
	}
	return json.RawMessage(s), nil
}

// parseObjects reads JSON objects in either of two forms: a JSON array, or the objects with commas between them, which
// is how Consul documents it. Nothing but white space is an empty list.
func parseObjects(s string) ([]json.RawMessage, error) {
	if isBlank(s) {
		return nil, nil
	}
	added := int64(0)
	if !strings.HasPrefix(strings.TrimLeft(s, jsonSpace), "[") {
		s = "[" + s + "]"
		added = 1
	}
	if err := checkJSON(s, added); err != nil {
		return nil, err
	}
	var list []json.RawMessage
	if err := json.Unmarshal([]byte(s), &list); err != nil {
		return nil, err
	}
	for i, e := range list {
		if _, err := parseObject(string(e)); err != nil {
			return nil, fmt.Errorf("element %d %w", i, err)
		}
	}
	return list, nil
}

// checkJSON wants valid JSON in valid UTF-8. encoding/json lets broken UTF-8 inside strings pass, Envoy does not. The
// error gives the place, less the bytes that were added in front, and no excerpt: a template's output holds the secret.
func checkJSON(s string, added int64) error {
	if !utf8.ValidString(s) {
		return errors.New("is not valid UTF-8")
	}
	var doc json.RawMessage
	err := json.Unmarshal([]byte(s), &doc)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("is not JSON: %w, at byte %d", syntax, max(syntax.Offset-added, 0))
	}
	return err
}

// maxClip bounds what an error repeats of a value, in bytes.
const maxClip = 80

// clip quotes a value for an error, shortened if it is long.
func clip(s string) string {
	if len(s) <= maxClip {
		return strconv.Quote(s)
	}
	return strconv.Quote(s[:maxClip]) + "…"
}
