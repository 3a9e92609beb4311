// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protopath"
	"google.golang.org/protobuf/reflect/protorange"
	"google.golang.org/protobuf/types/known/anypb"
)

// forEachAny calls do for every message that is packed in an Any, at any depth.
func forEachAny(t testing.TB, msg proto.Message, do func(url string, inner any)) {
	t.Helper()
	err := protorange.Range(msg.ProtoReflect(), func(v protopath.Values) error {
		m, ok := v.Index(-1).Value.Interface().(interface{ Interface() proto.Message })
		if !ok {
			return nil
		}
		packed, ok := m.Interface().(*anypb.Any)
		if !ok {
			return nil
		}
		inner, err := packed.UnmarshalNew()
		if err != nil {
			return err
		}
		do(packed.GetTypeUrl(), inner)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
