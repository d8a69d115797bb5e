// The authenticator's server keeps its handler and its mapper to itself. This
// program must reach both, and copying the package would be less faithful than
// reading its fields; the version is pinned, so they cannot move unseen.
package main

import (
	"fmt"
	"reflect"
)

// field returns the address of an unexported field of the struct.
func field[T any](owner reflect.Value, name string) *T {
	found := owner.FieldByName(name)
	if !found.IsValid() || found.Type() != reflect.TypeFor[T]() {
		panic(fmt.Sprintf("%s has no field %s of type %s", owner.Type(), name, reflect.TypeFor[T]()))
	}
	return (*T)(found.Addr().UnsafePointer())
}
