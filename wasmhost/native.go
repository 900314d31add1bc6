package wasmhost

import (
	"os"
	"reflect"

	"github.com/tetratelabs/wazero/api"
)

// nativeBytes returns the bytes of a module's machine code, which the engine maps
// outside of the Go heap. The engine does not tell, so the fields are looked up by
// their names on the way from an instance; where there are none (the interpreter)
// it is 0. TestNativeIsFound fails when a new version of the engine calls them
// otherwise.
func nativeBytes(guest api.Module) (n int64) {
	code := follow(reflect.ValueOf(guest), "Engine", "parent", "executables")
	if !code.IsValid() {
		return 0
	}
	page := int64(os.Getpagesize())
	for _, name := range []string{"executable", "entryPreambles"} {
		if b := code.FieldByName(name); b.IsValid() && b.Kind() == reflect.Slice {
			n += (int64(b.Len()) + page - 1) / page * page
		}
	}
	return n
}

// follow goes from struct to struct by the names of pointers and interfaces; the
// result is invalid when one is missing.
func follow(v reflect.Value, names ...string) reflect.Value {
	for i := 0; ; i++ {
		for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
			v = v.Elem()
		}
		if i == len(names) || v.Kind() != reflect.Struct {
			break
		}
		v = v.FieldByName(names[i])
	}
	if v.Kind() != reflect.Struct {
		return reflect.Value{}
	}
	return v
}
