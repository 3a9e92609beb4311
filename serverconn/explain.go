// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// trouble is an error sorted and put in plain words.
type trouble struct {
	// kind is a word for metrics and for telling a new trouble from the same
	// one at another server.
	kind string
	// words are for people.
	words string
}

// Kinds of trouble that code branches on. The others are in hints.
const (
	kindRefused     = "token_refused"
	kindSilent      = "no_answer"
	kindRateLimited = "rate_limited"
	kindCanceled    = "canceled"
)

// hints turn what the layers below say about a connection into a cause. The
// first that matches wins. grpc-go gives those causes as text only.
var hints = []struct{ part, kind, hint string }{
	{"certificate signed by unknown authority", "unknown_authority", "the server's certificate is not from a trusted authority; check the CA certificates"},
	{"certificate is valid for", "name_mismatch", "the server's certificate is for another name; check the TLS server name"},
	{"doesn't contain any IP SANs", "name_mismatch", "the server's certificate is for names, not addresses; set the TLS server name"},
	{"certificate is not valid for any names", "name_mismatch", "the server's certificate is for no name; check the TLS server name"},
	{"certificate has expired or is not yet valid", "certificate_expired", "the server's certificate has expired or is not valid yet; check it and the clocks"},
	{"remote error: tls", "tls_refused", "the server refuses the TLS handshake; it may demand a client certificate"},
	{"first record does not look like a TLS handshake", "not_tls", "the server's port does not speak TLS; check the port, or disable TLS"},
	{"error reading server preface", "no_grpc", "the port does not answer in plain-text gRPC; it may demand TLS"},
	{"connection refused", "connection_refused", "connection refused; nothing listens there"},
	{"no such host", "name_unknown", "the name of the servers does not resolve"},
	{"i/o timeout", kindSilent, "no answer in time"},
	{"deadline exceeded", kindSilent, "no answer in time"},
	{"no route to host", "no_route", "no route to the server"},
	{"network is unreachable", "no_route", "no route to the server"},
	{"ServerEvalFn returned false", "too_old", "the server is too old: it cannot give a proxy's bootstrap configuration"},
	{"discover Consul server addresses", "discovery", "no address of a Consul server found"},
	{"too many xDS streams", kindRateLimited, "the server has too many xDS streams"},
}

// explain sorts err and puts it in plain words. It is written for the errors
// of gRPC, TLS and discovery, and gives those it does not know as they are.
func explain(err error) trouble {
	if errors.Is(err, context.Canceled) || status.Code(err) == codes.Canceled {
		return trouble{kindCanceled, "canceled"}
	}
	message := serverWords(err)
	switch code := grpcCode(err); code {
	case codes.Unauthenticated, codes.PermissionDenied:
		return trouble{kindRefused, "the server refuses the credentials: " + message}
	case codes.DeadlineExceeded:
		return trouble{kindSilent, "no answer in time"}
	case codes.OK, codes.Unavailable, codes.ResourceExhausted, codes.Unknown:
	default:
		return trouble{strings.ToLower(code.String()), fmt.Sprintf("%s (%s)", message, code)}
	}
	cause := innermost(message)
	for _, h := range hints {
		if strings.Contains(message, h.part) || strings.Contains(err.Error(), h.part) {
			return trouble{h.kind, fmt.Sprintf("%s (%s)", h.hint, cause)}
		}
	}
	switch grpcCode(err) {
	case codes.ResourceExhausted:
		return trouble{kindRateLimited, "the server is at its limit: " + cause}
	case codes.Unavailable:
		return trouble{"unavailable", cause}
	}
	return trouble{"other", cause}
}

// grpcCode is the status code in err's chain, or OK when there is none.
func grpcCode(err error) codes.Code {
	var s interface{ GRPCStatus() *status.Status }
	if errors.As(err, &s) {
		return s.GRPCStatus().Code()
	}
	return codes.OK
}

// serverWords is the message of the status in err's chain, without what was
// wrapped around it, or else the whole of err.
func serverWords(err error) string {
	var s interface{ GRPCStatus() *status.Status }
	if errors.As(err, &s) {
		return s.GRPCStatus().Message()
	}
	return err.Error()
}

// innermost digs the cause out of grpc-go's nesting, which looks like
// `connection error: desc = "transport: Error while dialing: dial tcp …"`.
func innermost(message string) string {
	for {
		_, quoted, found := strings.Cut(message, `desc = "`)
		if !found {
			break
		}
		inner, err := strconv.Unquote(`"` + quoted)
		if err != nil {
			inner = strings.TrimSuffix(quoted, `"`)
		}
		message = inner
	}
	for _, prefix := range []string{"transport: ", "Error while dialing: ", "authentication handshake failed: ", "tls: failed to verify certificate: "} {
		message = strings.TrimPrefix(message, prefix)
	}
	return message
}

// redact replaces secrets in text, should a server ever repeat them.
func redact(text string, secrets ...string) string {
	for _, secret := range secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "[secret]")
		}
	}
	return text
}
