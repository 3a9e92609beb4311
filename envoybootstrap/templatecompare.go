// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

import (
	"cmp"
	"errors"
	"fmt"
)

// comparison tells how two values relate.
type comparison func(a, b any) (less, equal bool, err error)

// compared makes a function of two arguments from what their comparison is asked for.
func compared(is func(less, equal bool) bool, compare comparison) func([]any) (any, error) {
	return func(args []any) (any, error) {
		less, equal, err := compare(args[0], args[1])
		return is(less, equal), err
	}
}

// equalsAny tells whether a value equals one of others. Those after it are not looked at.
func equalsAny(a any, others []any) (any, error) {
	for _, b := range others {
		if _, equal, err := equalOnly(a, b); equal || err != nil {
			return equal, err
		}
	}
	return false, nil
}

// ordered compares numbers of one kind, or texts.
func ordered(a, b any) (less, equal bool, err error) {
	a, b = widen(a), widen(b)
	var order int
	var same bool
	switch x := a.(type) {
	case int:
		order, same = orderOf(x, b)
	case float64:
		order, same = orderOf(x, b)
	case string:
		order, same = orderOf(x, b)
	default:
		return false, false, errors.New("invalid type for comparison")
	}
	if !same {
		return false, false, fmt.Errorf("incompatible types for comparison: %T and %T", a, b)
	}
	return order < 0, order == 0, nil
}

func orderOf[T cmp.Ordered](x T, b any) (order int, same bool) {
	y, same := b.(T)
	return cmp.Compare(x, y), same
}

// equalOnly compares values that may have no order. Nil, to which a list without a backing array is equal, is comparable
// with anything, and structs with structs.
func equalOnly(a, b any) (_, equal bool, err error) {
	a, b = widen(a), widen(b)
	switch {
	case a == nil || b == nil:
		return false, isNil(a) && isNil(b), nil
	case isStruct(a) && isStruct(b):
		y, ok := b.(GRPC)
		if !ok {
			return false, false, fmt.Errorf("non-comparable type %T", b)
		}
		x, ok := a.(GRPC)
		return false, ok && x == y, nil
	case isList(a) && isList(b):
		if !isNil(a) && !isNil(b) {
			return false, false, fmt.Errorf("non-comparable type %T", b)
		}
		return false, isNil(a) && isNil(b), nil
	case fmt.Sprintf("%T", a) != fmt.Sprintf("%T", b):
		return false, false, fmt.Errorf("incompatible types for comparison: %T and %T", a, b)
	}
	return false, a == b, nil
}

// widen makes a number of a byte, since whole numbers compare with each other.
func widen(value any) any {
	if b, ok := value.(byte); ok {
		return int(b)
	}
	return value
}

func isNil(value any) bool {
	list, ok := value.([]string)
	return value == nil || ok && list == nil
}

func isList(value any) bool {
	_, ok := value.([]string)
	return ok
}

func isStruct(value any) bool {
	switch value.(type) {
	case TemplateArgs, GRPC:
		return true
	}
	return false
}
