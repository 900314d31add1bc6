package meter

import "strings"

// Names of the modules that a guest may import functions from.
const (
	CaxtonModule = "caxton"
	EnvModule    = "env" // an alias of CaxtonModule, and AssemblyScript's runtime
	WASIModule   = "wasi_snapshot_preview1"
)

// Type of an imported function, one letter per value: i is i32, I is i64 and F
// is f64.
type Type struct{ Params, Results string }

// Offered returns the functions that a guest may import under a module name,
// each with its type: what a host has to provide. The map is the caller's.
func Offered(module string) map[string]Type {
	list := make(map[string]Type)
	for name, t := range allowedImports(module) {
		params, results, _ := strings.Cut(t, ":")
		list[name] = Type{params, results}
	}
	return list
}
