// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// Consul's proxy config is untyped: it comes from HCL, JSON, YAML and command lines, and what was meant as text may
// arrive as a number. These functions take what has one obvious reading and refuse the rest.

// asText reads a value that is meant as text. A missing one is empty.
func asText(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	case int:
		return strconv.Itoa(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case json.Number:
		return v.String(), nil
	default:
		return "", fmt.Errorf("must be a string, not %s", kindOf(v))
	}
}

// asTexts reads a value that is meant as a list of texts. A single text is a list of one.
func asTexts(v any) ([]string, error) {
	switch v := v.(type) {
	case []string:
		return v, nil
	case []any:
		list := make([]string, 0, len(v))
		for i, e := range v {
			s, err := asText(e)
			if err != nil {
				return nil, fmt.Errorf("element %d %w", i, err)
			}
			list = append(list, s)
		}
		return list, nil
	default:
		s, err := asText(v)
		if err != nil {
			return nil, fmt.Errorf("must be a list of strings, not %s", kindOf(v))
		}
		if s == "" {
			return nil, nil
		}
		return []string{s}, nil
	}
}

// asJSON reads a value that is meant as JSON text. Objects and lists that somebody wrote without quotes are encoded.
func asJSON(v any) (string, error) {
	switch v := v.(type) {
	case map[string]any, []any:
		b, err := json.Marshal(v)
		return string(b), err
	case nil, string:
		return asText(v)
	default:
		return "", fmt.Errorf("must be JSON in a string, not %s", kindOf(v))
	}
}

// kindOf names the type of a value in the words of JSON.
func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case string:
		return "a string"
	case []any, []string:
		return "a list"
	case map[string]any:
		return "an object"
	case float64, int, int64, json.Number:
		return "a number"
	default:
		return fmt.Sprintf("a %T", v)
	}
}
