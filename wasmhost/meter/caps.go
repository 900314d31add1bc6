package meter

import "github.com/caxton-run/caxton/events"

// Caps bounds what Check admits. All fields are > 0. Each bound stands for a
// way to make an engine's compiler slow or large.
type Caps struct {
	ModuleBytes  int // whole module
	Types        int // function types
	Arity        int // parameters, and results, of one type
	Imports      int
	Functions    int // defined, not imported
	BodyBytes    int // one function body
	Locals       int // one function, without parameters
	Nesting      int // blocks within blocks; a Go guest with encoding/json nests 549
	LoopNesting  int // loops within loops: compilers are superlinear in it
	Branches     int // br, br_if, br_table, if, memory.fill and memory.copy in one function
	BranchTable  int // labels of one br_table
	FrameBytes   int // one call's frame on the engine's stack; Instrument finds out
	Globals      int
	Exports      int
	Tables       int
	TableEntries int // initial entries of one table
	Segments     int // element segments, and data segments
	Elements     int // entries of all element segments
	MemoryPages  int // initial pages of 64 KiB
}

// DefaultCaps admit the output of the Go, Rust, C and AssemblyScript toolchains
// and keep compilation of the worst module within seconds.
func DefaultCaps() Caps {
	return Caps{
		ModuleBytes: 8 << 20, Types: 4096, Arity: 128, Imports: 256,
		Functions: 20_000, BodyBytes: 128 << 10, Locals: 1000,
		Nesting: 2048, LoopNesting: 64, Branches: 4096, BranchTable: 4096,
		FrameBytes: 1 << 20, Globals: 4096, Exports: 4096, Tables: 1, TableEntries: 10_000,
		Segments: 100_000, Elements: 100_000, MemoryPages: 16_384,
	}
}

// MaxModuleBytes is the most that Caps.ModuleBytes may be: offsets and counts
// stay far from 32 bits.
const MaxModuleBytes = 64 << 20

// Validate reports all fields out of bounds as one *events.InvalidError.
func (c Caps) Validate() error {
	var f events.Faults
	for _, x := range []struct {
		name       string
		value, max int
	}{
		{"module_bytes", c.ModuleBytes, MaxModuleBytes}, {"types", c.Types, 1 << 20},
		{"arity", c.Arity, 1000}, {"imports", c.Imports, 1 << 16},
		{"functions", c.Functions, 1 << 20}, {"body_bytes", c.BodyBytes, MaxModuleBytes},
		{"locals", c.Locals, 50_000}, {"nesting", c.Nesting, 1 << 16},
		{"loop_nesting", c.LoopNesting, 1 << 16}, {"branches", c.Branches, 1 << 20},
		{"branch_table", c.BranchTable, 1 << 20}, {"frame_bytes", c.FrameBytes, 8 << 20}, {"globals", c.Globals, 1 << 20},
		{"exports", c.Exports, 1 << 20}, {"tables", c.Tables, 100},
		{"table_entries", c.TableEntries, 1 << 24}, {"segments", c.Segments, 1 << 20},
		{"elements", c.Elements, 1 << 24}, {"memory_pages", c.MemoryPages, 65_536},
	} {
		if x.value <= 0 || x.value > x.max {
			f.Add("caps."+x.name, "must be 1 to %d, got %d", x.max, x.value)
		}
	}
	return f.Err()
}
