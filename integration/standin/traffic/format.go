// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// logEntry is what a format string may speak of: a connection, or a request on one.
type logEntry struct {
	conn     *downstream
	request  *http.Request // as it came; nil for a bare connection
	original string        // path before it was rewritten
	response http.Header
	trailers http.Header
	code     int
	flags    string
	details  string
	received int64
	sent     int64
	start    time.Time
	duration time.Duration
	route    string
	cluster  string
	upstream string
	failure  string
	protocol string
}

// fragment produces one part of a formatted text; number tells JSON to leave the quotes off. ok is false where there is
// nothing to show.
type fragment func(*logEntry) (text string, number, ok bool)

// formatter is a compiled format string.
// Source: https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage
type formatter []fragment

// newFormatter compiles a format string; an operator that does not exist is an error that names it.
func newFormatter(format string) (formatter, error) {
	var f formatter
	for format != "" {
		before, rest, found := strings.Cut(format, "%")
		if before != "" {
			f = append(f, func(*logEntry) (string, bool, bool) { return before, false, true })
		}
		if !found {
			return f, nil
		}
		if after, escaped := strings.CutPrefix(rest, "%"); escaped {
			f = append(f, func(*logEntry) (string, bool, bool) { return "%", false, true })
			format = after
			continue
		}
		end := operatorEnd(rest)
		if end < 0 {
			return nil, fmt.Errorf("incorrect configuration: %%%s. Couldn't find valid command", rest)
		}
		op, err := newOperator(rest[:end])
		if err != nil {
			return nil, err
		}
		f = append(f, op)
		format = rest[end+1:]
	}
	return f, nil
}

// operatorEnd is the index of the % that closes an operator; those inside of parentheses belong to its argument.
func operatorEnd(s string) int {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '(':
			depth++
		case ')':
			depth--
		case '%':
			if depth == 0 {
				return i
			}
		}
	}
	return -1
}

// text formats an entry; what is missing shows as "-".
func (f formatter) text(e *logEntry) string {
	var b strings.Builder
	for _, part := range f {
		if s, _, ok := part(e); ok {
			b.WriteString(s)
		} else {
			b.WriteByte('-')
		}
	}
	return b.String()
}

// value formats an entry for JSON: a lone operator keeps its type, and is null where there is nothing.
func (f formatter) value(e *logEntry) any {
	if len(f) != 1 {
		return f.text(e)
	}
	s, number, ok := f[0](e)
	if !ok {
		return nil
	}
	if number {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return n
		}
	}
	return s
}

// newOperator compiles `NAME`, `NAME(ARGUMENT)` or either with `:LENGTH`.
func newOperator(op string) (fragment, error) {
	limit := -1
	if i := strings.LastIndexByte(op, ':'); i > strings.LastIndexByte(op, ')') {
		n, err := strconv.Atoi(op[i+1:])
		if err != nil {
			return nil, fmt.Errorf("length must be an integer, given: %s", op[i+1:])
		}
		op, limit = op[:i], n
	}
	name, arg, _ := strings.Cut(strings.TrimSuffix(op, ")"), "(")
	f := headerOperator(name, arg)
	if f == nil {
		f = valueOperator(name, arg)
	}
	if f == nil {
		return nil, envoyError("Not supported field in StreamInfo: %s", name)
	}
	if limit < 0 {
		return f, nil
	}
	return func(e *logEntry) (string, bool, bool) {
		s, number, ok := f(e)
		return s[:min(len(s), limit)], number, ok
	}, nil
}

// headerOperator is REQ, RESP or TRAILER, whose argument is `NAME?ALTERNATIVE`.
func headerOperator(name, arg string) fragment {
	first, second, _ := strings.Cut(arg, "?")
	get := func(lookup func(*logEntry, string) (string, bool)) fragment {
		return func(e *logEntry) (string, bool, bool) {
			if v, ok := lookup(e, first); ok {
				return v, false, true
			}
			v, ok := lookup(e, second)
			return v, false, ok && second != ""
		}
	}
	fromHeader := func(h http.Header, key string) (string, bool) {
		values, ok := h[http.CanonicalHeaderKey(key)]
		return strings.Join(values, ","), ok
	}
	switch name {
	case "REQ", "REQUEST_HEADER":
		return get(func(e *logEntry, key string) (string, bool) {
			if e.request == nil {
				return "", false
			}
			if strings.EqualFold(key, "x-envoy-original-path") {
				return e.original, e.original != ""
			}
			return headerValue(e.request, key)
		})
	case "RESP":
		return get(func(e *logEntry, key string) (string, bool) { return fromHeader(e.response, key) })
	case "TRAILER":
		return get(func(e *logEntry, key string) (string, bool) { return fromHeader(e.trailers, key) })
	default:
		return nil
	}
}

// valueOperator is one that shows a fact about the connection or request.
func valueOperator(name, arg string) fragment {
	text := func(get func(*logEntry) string) fragment {
		return func(e *logEntry) (string, bool, bool) {
			s := get(e)
			return s, false, s != ""
		}
	}
	number := func(get func(*logEntry) int64) fragment {
		return func(e *logEntry) (string, bool, bool) { return strconv.FormatInt(get(e), 10), true, true }
	}
	switch name {
	case "START_TIME":
		layout := timeLayout(arg)
		return text(func(e *logEntry) string { return e.start.UTC().Format(layout) })
	case "BYTES_RECEIVED":
		return number(func(e *logEntry) int64 { return e.received })
	case "BYTES_SENT":
		return number(func(e *logEntry) int64 { return e.sent })
	case "DURATION":
		return number(func(e *logEntry) int64 { return e.duration.Milliseconds() })
	case "RESPONSE_CODE":
		return number(func(e *logEntry) int64 { return int64(e.code) })
	case "CONNECTION_ID":
		return number(func(e *logEntry) int64 { return int64(e.conn.id) })
	case "RESPONSE_FLAGS":
		return text(func(e *logEntry) string { return e.flags })
	case "RESPONSE_CODE_DETAILS":
		return text(func(e *logEntry) string { return e.details })
	case "CONNECTION_TERMINATION_DETAILS":
		return text(func(e *logEntry) string { return e.conn.details })
	case "PROTOCOL":
		return text(func(e *logEntry) string { return e.protocol })
	case "ROUTE_NAME":
		return text(func(e *logEntry) string { return e.route })
	case "UPSTREAM_CLUSTER":
		return text(func(e *logEntry) string { return e.cluster })
	case "UPSTREAM_HOST", "UPSTREAM_REMOTE_ADDRESS":
		return text(func(e *logEntry) string { return e.upstream })
	case "UPSTREAM_TRANSPORT_FAILURE_REASON":
		return text(func(e *logEntry) string { return e.failure })
	case "REQUESTED_SERVER_NAME":
		return text(func(e *logEntry) string { return e.conn.sni })
	case "HOSTNAME", "UPSTREAM_LOCAL_ADDRESS":
		return text(func(*logEntry) string { return "" })
	default:
		return addressOperator(name)
	}
}

// addressOperator is one that shows an address or a name of the downstream connection's ends.
func addressOperator(name string) fragment {
	show := func(get func(*downstream) string) fragment {
		return func(e *logEntry) (string, bool, bool) {
			s := get(e.conn)
			return s, false, s != ""
		}
	}
	whole := func(a netip.AddrPort) string {
		if !a.IsValid() {
			return ""
		}
		return a.String()
	}
	switch name {
	case "DOWNSTREAM_REMOTE_ADDRESS", "DOWNSTREAM_DIRECT_REMOTE_ADDRESS":
		return show(func(d *downstream) string { return whole(d.remote) })
	case "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT":
		return show(func(d *downstream) string { return strings.TrimSuffix(d.remote.Addr().String(), "invalid IP") })
	case "DOWNSTREAM_LOCAL_ADDRESS":
		return show(func(d *downstream) string { return whole(d.local) })
	case "DOWNSTREAM_PEER_URI_SAN":
		return show(func(d *downstream) string { return strings.Join(d.principals(), ",") })
	case "DOWNSTREAM_PEER_SUBJECT":
		return show(func(d *downstream) string {
			if d.peer() == nil {
				return ""
			}
			return d.peer().Subject.String()
		})
	case "DOWNSTREAM_TLS_VERSION":
		return show(func(d *downstream) string {
			if d.tls == nil {
				return ""
			}
			return tlsVersionName(d.tls.Version)
		})
	default:
		return nil
	}
}

// timeLayout translates the strftime of START_TIME; without one Envoy shows milliseconds in UTC.
func timeLayout(strftime string) string {
	if strftime == "" {
		return "2006-01-02T15:04:05.000Z"
	}
	return strings.NewReplacer(
		"%Y", "2006", "%m", "01", "%d", "02", "%H", "15", "%M", "04", "%S", "05", "%y", "06", "%b", "Jan", "%z", "-0700",
		"%Z", "MST", "%T", "15:04:05", "%F", "2006-01-02", "%3f", "000", "%6f", "000000", "%9f", "000000000", "%f", "000000000",
	).Replace(strftime)
}
