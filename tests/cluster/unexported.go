// Access to unexported fields of the authenticator: this program needs its HTTP
// handler and its mapper. A modified copy of the package would be less faithful
// to the original. The version is pinned, so the fields cannot change unnoticed.
package main

import (
	"fmt"
	"reflect"
)

// unexportedField returns the address of a field of the struct.
func unexportedField[T any](owner reflect.Value, name string) *T {
	value := owner.FieldByName(name)
	if !value.IsValid() || value.Type() != reflect.TypeFor[T]() {
		panic(fmt.Sprintf("%s has no field %s of type %s", owner.Type(), name, reflect.TypeFor[T]()))
	}
	return (*T)(value.Addr().UnsafePointer())
}
