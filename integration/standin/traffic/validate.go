// SPDX-License-Identifier: MPL-2.0

package traffic

import (
	_ "embed"
	"fmt"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

//go:embed fields.txt
var fieldsText string

// fieldSet is what is known of one message type.
type fieldSet struct {
	whole  bool // accepted without looking into it
	fields map[protoreflect.Name]bool
}

// knownFields parses fields.txt, once for all engines: it never changes.
var knownFields = sync.OnceValue( //nolint:gochecknoglobals // a constant that the language cannot express
	func() map[protoreflect.FullName]fieldSet {
		known := map[protoreflect.FullName]fieldSet{}
		for line := range strings.Lines(fieldsText) {
			words := strings.Fields(line)
			if len(words) == 0 || strings.HasPrefix(words[0], "#") {
				continue
			}
			set := fieldSet{fields: map[protoreflect.Name]bool{}}
			for _, word := range words[1:] {
				if word == "..." {
					set.whole = true
					continue
				}
				set.fields[protoreflect.Name(strings.TrimPrefix(word, "~"))] = true
			}
			known[protoreflect.FullName(words[0])] = set
		}
		return known
	})

// envoyError is an error in Envoy's own words, which begin with a capital or end with a full stop where Envoy's do.
func envoyError(format string, args ...any) error { return fmt.Errorf(format, args...) }

// validator is what protoc-gen-validate generates for every message of Envoy's API.
type validator interface{ Validate() error }

// check refuses a resource that breaks Envoy's own constraints, holds an extension of an unknown type, or sets a field
// that this package does not implement.
func check(m proto.Message) error {
	if v, ok := m.(validator); ok {
		if err := v.Validate(); err != nil {
			return envoyError("Proto constraint validation failed (%w)", err)
		}
	}
	return checkFields(m.ProtoReflect())
}

func checkFields(m protoreflect.Message) error {
	name := m.Descriptor().FullName()
	if name.Parent() == "google.protobuf" {
		return nil
	}
	set, ok := knownFields()[name]
	if !ok {
		return fmt.Errorf("%s is not supported", name)
	}
	if set.whole {
		return nil
	}
	var failure error
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if !set.fields[fd.Name()] {
			failure = fmt.Errorf("%s.%s is not supported", name, fd.Name())
			return false
		}
		failure = checkValue(m, fd, v)
		return failure == nil
	})
	return failure
}

// checkValue descends into the messages of one field.
func checkValue(parent protoreflect.Message, fd protoreflect.FieldDescriptor, v protoreflect.Value) error {
	switch {
	case fd.IsMap():
		if fd.MapValue().Message() == nil {
			return nil
		}
		var failure error
		v.Map().Range(func(k protoreflect.MapKey, item protoreflect.Value) bool {
			failure = checkMessage(k.String(), item.Message())
			return failure == nil
		})
		return failure
	case fd.Message() == nil:
		return nil
	case fd.IsList():
		for i := range v.List().Len() {
			if err := checkMessage(extensionName(parent), v.List().Get(i).Message()); err != nil {
				return err
			}
		}
		return nil
	default:
		return checkMessage(extensionName(parent), v.Message())
	}
}

// checkMessage checks a nested message; an Any is unpacked and its content validated, as Envoy does when it
// instantiates the extension.
func checkMessage(owner string, m protoreflect.Message) error {
	packed, ok := m.Interface().(*anypb.Any)
	if !ok {
		return checkFields(m)
	}
	content, err := packed.UnmarshalNew()
	if err != nil {
		return unknownExtension(owner, packed.GetTypeUrl())
	}
	name := content.ProtoReflect().Descriptor().FullName()
	if _, known := knownFields()[name]; !known && name.Parent() != "google.protobuf" {
		return unknownExtension(owner, packed.GetTypeUrl())
	}
	return check(content)
}

// unknownExtension is Envoy's error for an extension that is not compiled in.
func unknownExtension(name, typeURL string) error {
	return envoyError("Didn't find a registered implementation for '%s' with type URL: '%s'", name, strings.TrimPrefix(typeURL, "type.googleapis.com/"))
}

// extensionName is the `name` field beside a typed_config.
func extensionName(m protoreflect.Message) string {
	fd := m.Descriptor().Fields().ByName("name")
	if fd == nil || fd.Kind() != protoreflect.StringKind || fd.IsList() {
		return ""
	}
	return m.Get(fd).String()
}

// unpack returns the content of a typed_config that check has already seen.
func unpack(packed *anypb.Any) (proto.Message, error) {
	m, err := packed.UnmarshalNew()
	if err != nil {
		return nil, unknownExtension("", packed.GetTypeUrl())
	}
	return m, nil
}
