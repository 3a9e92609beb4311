// SPDX-License-Identifier: MPL-2.0

package downstream

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	contentType = "application/grpc"
	// maxHeaderList bounds the request headers of a stream, in bytes.
	maxHeaderList = 16 << 10
	// maxStatus bounds the words of a status, in bytes, so that trailers fit into a
	// frame whatever they are.
	maxStatus = 1 << 10
)

// check tells what is wrong with the headers of a request for the method.
func check(f *http2.MetaHeadersFrame, method string) error {
	var contentTypes []string
	for _, h := range f.RegularFields() {
		if h.Name == "content-type" {
			contentTypes = append(contentTypes, h.Value)
		}
	}
	switch {
	case f.Truncated:
		return status.Errorf(codes.ResourceExhausted, "the headers of the request have more than %d bytes", maxHeaderList)
	case f.PseudoValue("method") != "POST" || len(contentTypes) != 1 || !isGRPC(contentTypes[0]):
		return status.Error(codes.Internal, "this is no request of gRPC")
	case f.PseudoValue("path") != method:
		return status.Errorf(codes.Unimplemented, "only %s is served here", method)
	}
	return nil
}

// isGRPC takes application/grpc, with a suffix or parameters, too.
func isGRPC(value string) bool {
	rest, ok := strings.CutPrefix(value, contentType)
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

func responseHeaders() []hpack.HeaderField {
	return []hpack.HeaderField{
		{Name: ":status", Value: "200"},
		{Name: "content-type", Value: contentType},
		{Name: "grpc-accept-encoding", Value: "identity"},
	}
}

// trailers tell of a stream's end.
func trailers(err error) []hpack.HeaderField {
	s := status.Convert(err)
	fields := []hpack.HeaderField{{Name: "grpc-status", Value: strconv.Itoa(int(s.Code()))}}
	if words := s.Message(); words != "" {
		fields = append(fields, hpack.HeaderField{Name: "grpc-message", Value: percentEncode(words)})
	}
	return fields
}

// percentEncode writes the words of a status as gRPC does: all but printable ASCII
// is encoded, and the percent sign.
func percentEncode(words string) string {
	if len(words) > maxStatus {
		words = strings.ToValidUTF8(words[:maxStatus], "") // a letter that is cut is none
	}
	var b strings.Builder
	for i := range len(words) {
		if c := words[i]; c < ' ' || c > '~' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
