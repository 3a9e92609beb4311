// SPDX-License-Identifier: MPL-2.0

//nolint:staticcheck // the deprecated forms of formats are still sent.
package traffic

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	otelv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/open_telemetry/v3"
	streamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// defaultLogFormat is Envoy's.
const defaultLogFormat = `[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% ` +
	`%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% ` +
	`"%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"` + "\n"

// logSinks are the open log files, shared by path, as in Envoy.
type logSinks struct {
	mu    sync.Mutex
	files map[string]*os.File
}

// open returns the writer of a file, opened for appending.
func (s *logSinks) open(path string) (io.Writer, error) {
	switch path {
	case "/dev/stdout":
		return os.Stdout, nil
	case "/dev/stderr":
		return os.Stderr, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f, ok := s.files[path]; ok {
		return f, nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("unable to open file '%s': %w", path, err)
	}
	if s.files == nil {
		s.files = map[string]*os.File{}
	}
	s.files[path] = f
	return f, nil
}

func (s *logSinks) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, f := range s.files {
		errs = append(errs, f.Close())
	}
	s.files = nil
	return errors.Join(errs...)
}

// accessLog is the loggers of one filter or listener.
type accessLog []accessLogger

type accessLogger struct {
	filter func(*logEntry) bool
	line   func(*logEntry) string
	sink   io.Writer
}

// write logs an entry wherever a filter lets it pass. A write that fails is lost, as in Envoy.
func (l accessLog) write(e *logEntry) {
	for _, logger := range l {
		if logger.filter(e) {
			_, _ = io.WriteString(logger.sink, logger.line(e))
		}
	}
}

func newAccessLog(configs []*accesslogv3.AccessLog, sinks *logSinks) (accessLog, error) {
	var out accessLog
	for _, c := range configs {
		logger, err := newAccessLogger(c, sinks)
		if err != nil {
			return nil, fmt.Errorf("access log %q: %w", c.GetName(), err)
		}
		if logger.sink != nil {
			out = append(out, logger)
		}
	}
	return out, nil
}

func newAccessLogger(c *accesslogv3.AccessLog, sinks *logSinks) (logger accessLogger, err error) {
	if logger.filter, err = newLogFilter(c.GetFilter()); err != nil {
		return logger, err
	}
	m, err := unpack(c.GetTypedConfig())
	if err != nil {
		return logger, err
	}
	switch v := m.(type) {
	case *streamv3.StdoutAccessLog:
		logger.sink = os.Stdout
		logger.line, err = newLine(v.GetLogFormat())
	case *streamv3.StderrAccessLog:
		logger.sink = os.Stderr
		logger.line, err = newLine(v.GetLogFormat())
	case *filev3.FileAccessLog:
		if logger.line, err = fileLine(v); err == nil {
			logger.sink, err = sinks.open(v.GetPath())
		}
	case *otelv3.OpenTelemetryAccessLogConfig: // sent nowhere: see fields.txt
	default:
		err = unknownExtension(c.GetName(), c.GetTypedConfig().GetTypeUrl())
	}
	return logger, err
}

// fileLine takes the format of a file log, new style or deprecated.
func fileLine(v *filev3.FileAccessLog) (func(*logEntry) string, error) {
	switch f := v.GetAccessLogFormat().(type) {
	case *filev3.FileAccessLog_LogFormat:
		return newLine(f.LogFormat)
	case *filev3.FileAccessLog_Format:
		return textLine(f.Format)
	case *filev3.FileAccessLog_JsonFormat:
		return jsonLine(f.JsonFormat, false)
	case *filev3.FileAccessLog_TypedJsonFormat:
		return jsonLine(f.TypedJsonFormat, false)
	default:
		return textLine(defaultLogFormat)
	}
}

func newLine(f *corev3.SubstitutionFormatString) (func(*logEntry) string, error) {
	switch v := f.GetFormat().(type) {
	case *corev3.SubstitutionFormatString_TextFormat:
		return textLine(v.TextFormat)
	case *corev3.SubstitutionFormatString_TextFormatSource:
		text, _, err := readSource(v.TextFormatSource)
		if err != nil {
			return nil, err
		}
		return textLine(string(text))
	case *corev3.SubstitutionFormatString_JsonFormat:
		return jsonLine(v.JsonFormat, f.GetOmitEmptyValues())
	default:
		return textLine(defaultLogFormat)
	}
}

func textLine(format string) (func(*logEntry) string, error) {
	f, err := newFormatter(format)
	return f.text, err
}

// jsonLine compiles a JSON format: every string in it, at any depth, is a format string.
func jsonLine(format *structpb.Struct, omitEmpty bool) (func(*logEntry) string, error) {
	build, err := newJSONValue(structpb.NewStructValue(format), omitEmpty)
	return func(e *logEntry) string {
		line, err := json.Marshal(build(e))
		if err != nil {
			return ""
		}
		return string(line) + "\n"
	}, err
}

func newJSONValue(v *structpb.Value, omitEmpty bool) (func(*logEntry) any, error) {
	switch k := v.GetKind().(type) {
	case *structpb.Value_StringValue:
		f, err := newFormatter(k.StringValue)
		return f.value, err
	case *structpb.Value_StructValue:
		fields := map[string]func(*logEntry) any{}
		for name, item := range k.StructValue.GetFields() {
			build, err := newJSONValue(item, omitEmpty)
			if err != nil {
				return nil, err
			}
			fields[name] = build
		}
		return func(e *logEntry) any {
			out := make(map[string]any, len(fields))
			for name, build := range fields {
				if value := build(e); value != nil || !omitEmpty {
					out[name] = value
				}
			}
			return out
		}, nil
	case *structpb.Value_ListValue:
		return func(*logEntry) any { return k.ListValue.AsSlice() }, nil
	default:
		return func(*logEntry) any { return v.AsInterface() }, nil
	}
}

func newLogFilter(f *accesslogv3.AccessLogFilter) (func(*logEntry) bool, error) {
	switch v := f.GetFilterSpecifier().(type) {
	case nil:
		return func(*logEntry) bool { return true }, nil
	case *accesslogv3.AccessLogFilter_ResponseFlagFilter:
		flags := v.ResponseFlagFilter.GetFlags()
		return func(e *logEntry) bool {
			return slices.ContainsFunc(strings.Split(e.flags, ","), func(f string) bool {
				return f != "" && (len(flags) == 0 || slices.Contains(flags, f))
			})
		}, nil
	case *accesslogv3.AccessLogFilter_AndFilter:
		return newLogFilters(v.AndFilter.GetFilters(), true)
	case *accesslogv3.AccessLogFilter_OrFilter:
		return newLogFilters(v.OrFilter.GetFilters(), false)
	default:
		return nil, fmt.Errorf("filter %T is not supported", v)
	}
}

func newLogFilters(filters []*accesslogv3.AccessLogFilter, all bool) (func(*logEntry) bool, error) {
	var compiled []func(*logEntry) bool
	for _, f := range filters {
		c, err := newLogFilter(f)
		if err != nil {
			return nil, err
		}
		compiled = append(compiled, c)
	}
	return func(e *logEntry) bool {
		for _, c := range compiled {
			if c(e) != all {
				return !all
			}
		}
		return all
	}, nil
}
