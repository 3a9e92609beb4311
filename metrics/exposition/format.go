// SPDX-License-Identifier: MPL-2.0

package exposition

import "strings"

// Format is one of the two ways to write an exposition.
type Format uint8

// The formats.
const (
	Text        Format = iota // text/plain; version=0.0.4
	OpenMetrics               // application/openmetrics-text; version=1.0.0
)

// ContentType returns the value of the HTTP header that announces f.
func (f Format) ContentType() string {
	if f == OpenMetrics {
		return "application/openmetrics-text; version=1.0.0; charset=utf-8"
	}
	return "text/plain; version=0.0.4; charset=utf-8"
}

// Type is the type of a metric family.
type Type uint8

// The types of both formats. The text format knows the first five.
const (
	Unknown Type = iota // "untyped" in the text format
	Counter
	Gauge
	Histogram
	Summary
	GaugeHistogram
	Info
	StateSet
)

var typeNames = [...]string{"unknown", "counter", "gauge", "histogram", "summary", "gaugehistogram", "info", "stateset"}

// name returns how t is spelt in f.
func (t Type) name(f Format) string {
	if t == Unknown && f == Text {
		return "untyped"
	}
	return typeNames[t]
}

// parseType reads the type of a TYPE line. canonical says that f spells it so.
// The types that the text format does not know, but that some exporters write
// in it, become the nearest one that makes no demand on the samples.
func parseType(token string, f Format) (t Type, canonical, ok bool) {
	lower := strings.ToLower(token)
	if f == Text {
		switch lower {
		case "untyped":
			return Unknown, token == lower, true
		case "unknown", "gaugehistogram", "gauge_histogram":
			return Unknown, false, true
		case "info", "stateset":
			return Gauge, false, true
		}
	}
	for i, name := range typeNames {
		if name == lower {
			return Type(i), token == lower, true
		}
	}
	return Unknown, false, false
}

// suffix is what the name of a sample has in addition to that of its family.
type suffix uint16

const (
	sufNone suffix = 1 << iota
	sufTotal
	sufCreated
	sufBucket
	sufSum
	sufCount
	sufGSum
	sufGCount
	sufInfo
	sufAll suffix = 1<<iota - 1
)

var suffixNames = [...]string{"", "_total", "_created", "_bucket", "_sum", "_count", "_gsum", "_gcount", "_info"}

// suffixes returns the ones that samples of a family of type t may have in f.
func suffixes(t Type, f Format) suffix {
	if f == Text {
		switch t {
		case Histogram:
			return sufNone | sufBucket | sufSum | sufCount
		case Summary:
			return sufNone | sufSum | sufCount
		default:
			return sufNone
		}
	}
	switch t {
	case Counter:
		return sufNone | sufTotal | sufCreated
	case Histogram:
		return sufNone | sufBucket | sufSum | sufCount | sufCreated
	case Summary:
		return sufNone | sufSum | sufCount | sufCreated
	case GaugeHistogram:
		return sufNone | sufBucket | sufGSum | sufGCount
	case Info:
		return sufNone | sufInfo
	default:
		return sufNone
	}
}

// parseSuffix returns the suffix among allowed whose name is s, or 0.
func parseSuffix(s []byte, allowed suffix) suffix {
	for i, name := range suffixNames {
		if bit := suffix(1) << i; allowed&bit != 0 && name == string(s) {
			return bit
		}
	}
	return 0
}
