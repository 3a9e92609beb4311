// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"fmt"
	"net/http"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

// headerEdit adds and removes headers, as routes, virtual hosts and weighted clusters ask for.
type headerEdit struct {
	add    []headerAdd
	remove []string
}

type headerAdd struct {
	key       string
	value     formatter
	action    corev3.HeaderValueOption_HeaderAppendAction
	keepEmpty bool
}

func newHeaderEdit(add []*corev3.HeaderValueOption, remove []string) (headerEdit, error) {
	var edit headerEdit
	for _, name := range remove {
		if strings.HasPrefix(name, ":") || strings.EqualFold(name, "host") {
			return edit, fmt.Errorf(":-prefixed or host headers may not be removed")
		}
		edit.remove = append(edit.remove, name)
	}
	for _, o := range add {
		h := o.GetHeader()
		if strings.HasPrefix(h.GetKey(), ":") || strings.EqualFold(h.GetKey(), "host") {
			return edit, fmt.Errorf(":-prefixed or host headers may not be modified")
		}
		value := h.GetValue()
		if value == "" {
			value = string(h.GetRawValue())
		}
		f, err := newFormatter(value)
		if err != nil {
			return edit, fmt.Errorf("header %q: %w", h.GetKey(), err)
		}
		action := o.GetAppendAction()
		if a := o.GetAppend(); a != nil && !a.GetValue() { //nolint:staticcheck // deprecated, and still sent by some
			action = corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD
		}
		edit.add = append(edit.add, headerAdd{key: h.GetKey(), value: f, action: action, keepEmpty: o.GetKeepEmptyValue()})
	}
	return edit, nil
}

// apply edits h in place; values may speak of the entry.
func (e headerEdit) apply(h http.Header, about *logEntry) {
	for _, name := range e.remove {
		h.Del(name)
	}
	for _, a := range e.add {
		value := a.value.text(about)
		if value == "" && !a.keepEmpty {
			continue
		}
		_, exists := h[http.CanonicalHeaderKey(a.key)]
		switch a.action {
		case corev3.HeaderValueOption_ADD_IF_ABSENT:
			if !exists {
				h.Set(a.key, value)
			}
		case corev3.HeaderValueOption_OVERWRITE_IF_EXISTS:
			if exists {
				h.Set(a.key, value)
			}
		case corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD:
			h.Set(a.key, value)
		default:
			h.Add(a.key, value)
		}
	}
}
