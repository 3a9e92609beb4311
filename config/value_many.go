// SPDX-License-Identifier: MPL-2.0

package config

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// list is texts separated by commas, or a JSON array of strings. Each element
// must pass the check, and is kept in the form that the check gives it.
func list(p *[]string, element check) value { return listValue{p, element} }

type listValue struct {
	p       *[]string
	element check
}

func (v listValue) kind() string { return "list" }

func (v listValue) String() string {
	return hidePasswords(strings.Join(*v.p, ","))
}

func (v listValue) set(s string) error {
	if strings.TrimSpace(s) == "" {
		*v.p = nil
		return nil
	}
	return v.setAll(strings.Split(s, ","))
}

func (v listValue) setAll(elements []string) error {
	kept := make([]string, 0, len(elements))
	for _, s := range elements {
		s = strings.TrimSpace(s)
		if !v.element.ok(s) {
			return mustBe("a comma-separated list, each element " + v.element.want)
		}
		kept = append(kept, v.element.cleaned(s))
	}
	*v.p = kept
	return nil
}

func (v listValue) setJSON(raw json.RawMessage) error {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return v.set(s)
	}
	var elements []string
	if json.Unmarshal(raw, &elements) != nil {
		return jsonMustBe("a JSON string or an array of strings", raw)
	}
	return v.setAll(elements)
}

// pairs is a map that grows by key=value, or a JSON object of strings.
func pairs(p *map[string]string) value { return pairsValue{p} }

type pairsValue struct{ p *map[string]string }

func (v pairsValue) kind() string { return "key=value" }

func (v pairsValue) String() string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(*v.p)) {
		out = append(out, k+"="+(*v.p)[k])
	}
	return strings.Join(out, ",")
}

func (v pairsValue) set(s string) error {
	k, val, ok := strings.Cut(s, "=")
	if !ok || k == "" {
		return mustBe("of the form key=value")
	}
	v.add(k, val)
	return nil
}

func (v pairsValue) add(k, val string) {
	if *v.p == nil {
		*v.p = map[string]string{}
	}
	(*v.p)[k] = val
}

func (v pairsValue) setJSON(raw json.RawMessage) error {
	const want = "a JSON object of strings"
	var m map[string]string
	if json.Unmarshal(raw, &m) != nil {
		if raw[0] == '{' {
			return mustBe(want)
		}
		return jsonMustBe(want, raw)
	}
	for k, val := range m {
		if k == "" {
			return mustBe(want + " with keys that are not empty")
		}
		v.add(k, val)
	}
	return nil
}
