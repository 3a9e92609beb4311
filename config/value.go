// SPDX-License-Identifier: MPL-2.0

package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// value is a field of a Config as the table sees it: something that can be read
// from text (a flag, a variable) and from JSON. Errors complete the sentence
// "this value …", as in "must be true or false".
type value interface {
	fmt.Stringer
	// kind is the placeholder for the value in the help.
	kind() string
	set(text string) error
	setJSON(raw json.RawMessage) error
}

// mustBe is the reason for refusing a value.
func mustBe(want string) error { return errors.New("must be " + want) }

// jsonMustBe is mustBe for a value of a wrong JSON type.
func jsonMustBe(want string, raw json.RawMessage) error {
	kinds := map[byte]string{'{': "an object", '[': "an array", '"': "a string", 't': "a boolean", 'f': "a boolean"}
	kind, ok := kinds[raw[0]]
	if !ok {
		kind = "a number"
	}
	return fmt.Errorf("must be %s, not %s", want, kind)
}

// text is a string of any named type, with an optional check.
func text[T ~string](p *T, checks ...check) value { return textValue[T]{p, checks} }

type textValue[T ~string] struct {
	p      *T
	checks []check
}

func (v textValue[T]) kind() string   { return "text" }
func (v textValue[T]) String() string { return fmt.Sprint(*v.p) }

func (v textValue[T]) set(s string) error {
	for _, c := range v.checks {
		if !c.ok(s) {
			return mustBe(c.want)
		}
		s = c.cleaned(s)
	}
	*v.p = T(s)
	return nil
}

func (v textValue[T]) setJSON(raw json.RawMessage) error {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return jsonMustBe("a JSON string", raw)
	}
	return v.set(s)
}

// foldedText is text that is compared and kept in lower case.
func foldedText(p *string, c check) value { return foldedValue{textValue[string]{p, []check{c}}} }

type foldedValue struct{ textValue[string] }

func (v foldedValue) set(s string) error { return v.textValue.set(strings.ToLower(s)) }

func (v foldedValue) setJSON(raw json.RawMessage) error {
	return v.textValue.setJSON([]byte(strings.ToLower(string(raw))))
}

// number is a whole number from low to high.
func number[T int | int64](p *T, low, high int64) value { return numberValue[T]{p, low, high} }

type numberValue[T int | int64] struct {
	p         *T
	low, high int64
}

func (v numberValue[T]) kind() string   { return "number" }
func (v numberValue[T]) String() string { return strconv.FormatInt(int64(*v.p), 10) }

func (v numberValue[T]) want() string {
	if v.high >= math.MaxInt32 {
		return fmt.Sprintf("a whole number, %d or more", v.low)
	}
	return fmt.Sprintf("a whole number from %d to %d", v.low, v.high)
}

func (v numberValue[T]) set(s string) error {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < v.low || n > v.high {
		return mustBe(v.want())
	}
	*v.p = T(n)
	return nil
}

func (v numberValue[T]) setJSON(raw json.RawMessage) error {
	if !isJSONNumber(raw) {
		return jsonMustBe("a JSON number", raw)
	}
	return v.set(string(raw))
}

func isJSONNumber(raw json.RawMessage) bool {
	return raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9'
}

// boolean is a switch.
func boolean(p *bool) value { return boolValue{p} }

type boolValue struct{ p *bool }

func (v boolValue) kind() string   { return "" }
func (v boolValue) String() string { return strconv.FormatBool(*v.p) }

func (v boolValue) set(s string) error {
	b, err := strconv.ParseBool(s)
	if err != nil {
		return mustBe("true or false")
	}
	*v.p = b
	return nil
}

func (v boolValue) setJSON(raw json.RawMessage) error {
	if json.Unmarshal(raw, v.p) != nil {
		return jsonMustBe("true or false", raw)
	}
	return nil
}

// seconds is a duration that users give as a whole number of seconds, from low.
func seconds(p *time.Duration, low int64) value { return secondsValue{p, low} }

type secondsValue struct {
	p   *time.Duration
	low int64
}

func (v secondsValue) kind() string   { return "seconds" }
func (v secondsValue) String() string { return strconv.FormatInt(int64(*v.p/time.Second), 10) }

func (v secondsValue) set(s string) error {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < v.low || n > math.MaxInt32 {
		return mustBe(fmt.Sprintf("a whole number of seconds, %d or more, without a unit", v.low))
	}
	*v.p = time.Duration(n) * time.Second
	return nil
}

func (v secondsValue) setJSON(raw json.RawMessage) error {
	if !isJSONNumber(raw) {
		return jsonMustBe("a JSON number", raw)
	}
	return v.set(string(raw))
}

// duration is a positive duration in Go's notation. In JSON a bare number is
// nanoseconds, as encoding/json would write a time.Duration.
func duration(p *time.Duration) value { return durationValue{p} }

type durationValue struct{ p *time.Duration }

const wantDuration = `a duration above 0, such as "60s" or "1m30s"`

func (v durationValue) kind() string   { return "duration" }
func (v durationValue) String() string { return v.p.String() }

func (v durationValue) set(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return mustBe(wantDuration)
	}
	*v.p = d
	return nil
}

func (v durationValue) setJSON(raw json.RawMessage) error {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return v.set(s)
	}
	if !isJSONNumber(raw) {
		return jsonMustBe("a JSON string such as \"60s\" or a number of nanoseconds", raw)
	}
	ns, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || ns < 1 || ns >= math.MaxInt64 {
		return mustBe(wantDuration + ", or a number of nanoseconds")
	}
	*v.p = time.Duration(ns)
	return nil
}
