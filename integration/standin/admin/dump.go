// SPDX-License-Identifier: MPL-2.0

package admin

import (
	"net/http"
	"strings"

	"github.com/cncf/xds/go/udpa/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/anypb"
)

func (s *Server) configDump(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	for _, unsupported := range []string{"resource", "mask", "name_regex"} {
		if q.Has(unsupported) {
			w.WriteHeader(http.StatusBadRequest)
			write(w, "the stand-in does not support the parameter "+unsupported+"\n")
			return
		}
	}
	include := q.Has("include_eds") && !strings.EqualFold(q.Get("include_eds"), "off")
	dump, err := s.cfg.Process.Dump(include)
	if err == nil {
		err = redact(dump.ProtoReflect(), false)
	}
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		write(w, err.Error()+"\n")
		return
	}
	sendProto(w, dump, false)
}

// redacted is what Envoy puts in place of a secret.
const redacted = "[redacted]"

// redact blots out every field that Envoy's protos mark as sensitive, with all
// that is below it, and looks into each Any on the way.
// Source: MessageUtil::redact in source/common/protobuf/utility.cc.
func redact(m protoreflect.Message, sensitive bool) error {
	if inner, ok := m.Interface().(*anypb.Any); ok {
		return redactAny(inner, sensitive)
	}
	var problem error
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		problem = redactField(m, field, value, sensitive || isSensitive(field))
		return problem == nil
	})
	return problem
}

func isSensitive(field protoreflect.FieldDescriptor) bool {
	options, ok := field.Options().(*descriptorpb.FieldOptions)
	if !ok || !proto.HasExtension(options, annotations.E_Sensitive) {
		return false
	}
	marked, ok := proto.GetExtension(options, annotations.E_Sensitive).(bool)
	return ok && marked
}

func redactAny(a *anypb.Any, sensitive bool) error {
	if a.GetTypeUrl() == "" {
		return nil
	}
	inner, err := a.UnmarshalNew()
	if err != nil {
		return err
	}
	if err := redact(inner.ProtoReflect(), sensitive); err != nil {
		return err
	}
	return a.MarshalFrom(inner)
}

func redactField(m protoreflect.Message, field protoreflect.FieldDescriptor, value protoreflect.Value, sensitive bool) error {
	switch {
	case field.IsMap():
		return redactMap(field, value.Map(), sensitive)
	case field.IsList():
		list := value.List()
		for i := range list.Len() {
			if field.Message() != nil {
				if err := redact(list.Get(i).Message(), sensitive); err != nil {
					return err
				}
			} else if blot, ok := blotted(field); ok && sensitive {
				list.Set(i, blot)
			}
		}
	case field.Message() != nil:
		return redact(value.Message(), sensitive)
	case sensitive:
		if blot, ok := blotted(field); ok {
			m.Set(field, blot)
		} else {
			m.Clear(field)
		}
	}
	return nil
}

func redactMap(field protoreflect.FieldDescriptor, values protoreflect.Map, sensitive bool) error {
	var problem error
	values.Range(func(key protoreflect.MapKey, value protoreflect.Value) bool {
		if field.MapValue().Message() != nil {
			problem = redact(value.Message(), sensitive)
		} else if blot, ok := blotted(field.MapValue()); ok && sensitive {
			values.Set(key, blot)
		}
		return problem == nil
	})
	return problem
}

// blotted is the replacement for a text or bytes field; others are cleared.
func blotted(field protoreflect.FieldDescriptor) (protoreflect.Value, bool) {
	switch field.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(redacted), true
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(redacted)), true
	default:
		return protoreflect.Value{}, false
	}
}
