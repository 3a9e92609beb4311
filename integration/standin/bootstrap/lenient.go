// SPDX-License-Identifier: MPL-2.0

package bootstrap

import (
	"bytes"
	"encoding/json"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// lenient rewrites JSON in which a repeated field has a lone value instead of a
// list. The C++ parser takes that, protojson does not, and Consul's own
// bootstrap has been written so for years (grpc_services). Anything else stays
// as it is.
func lenient(data []byte, root protoreflect.MessageDescriptor) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return nil, err
	}
	wrapLone(tree, root)
	return json.Marshal(tree)
}

func wrapLone(tree any, d protoreflect.MessageDescriptor) {
	object, ok := tree.(map[string]any)
	if !ok {
		return
	}
	if d.FullName() == "google.protobuf.Any" {
		if d = typeOf(object); d == nil {
			return
		}
	}
	if strings.HasPrefix(string(d.FullName()), "google.protobuf.") {
		return // these have a JSON form of their own
	}
	for key, value := range object {
		field := d.Fields().ByJSONName(key)
		if field == nil {
			field = d.Fields().ByTextName(key)
		}
		if field == nil || value == nil {
			continue
		}
		if _, list := value.([]any); field.IsList() && !list {
			value = []any{value}
			object[key] = value
		}
		descend(value, field)
	}
}

func descend(value any, field protoreflect.FieldDescriptor) {
	switch {
	case field.IsMap():
		entries, ok := value.(map[string]any)
		if inner := field.MapValue().Message(); ok && inner != nil {
			for _, entry := range entries {
				wrapLone(entry, inner)
			}
		}
	case field.Message() == nil:
	case field.IsList():
		elements, ok := value.([]any)
		for i := 0; ok && i < len(elements); i++ {
			wrapLone(elements[i], field.Message())
		}
	default:
		wrapLone(value, field.Message())
	}
}

// typeOf finds what an Any in JSON holds, or nil if that is not known.
func typeOf(object map[string]any) protoreflect.MessageDescriptor {
	url, ok := object["@type"].(string)
	if !ok {
		return nil
	}
	found, err := protoregistry.GlobalTypes.FindMessageByURL(url)
	if err != nil {
		return nil
	}
	return found.Descriptor()
}
