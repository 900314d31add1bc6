// Package meter checks a WebAssembly module and rewrites it so that its running
// can be bounded: bytes in, checked and metered bytes out.
//
// It is not an engine and does not validate types; the host does that with its
// engine between the two steps. The order is Check, validate the original,
// Instrument: an invalid module can become valid by referring to what
// Instrument adds, so validating only the result would not do.
//
// Guarantees: time and memory linear in the module's size, whatever the module
// says about itself; no panic on any input (fuzzed); the instrumented module
// computes what the original does, until fuel or call depth end; fuel used is a
// function of the module and its inputs, not of slice size, engine or machine.
//
// How fuel works. A mutable global (FuelGlobal) holds what is left of the
// current slice and is charged once per straight-line segment. Where it is
// found negative (at loop heads, at entries of functions that call, after
// charges by size) the guest calls the host's refill function, which grants the
// next slice or stops the guest by a panic of its own.
//
// How it stays cheap, on the engine that the host uses (wazero 1.12, whose
// machine code was read for this; all of it holds on any engine):
//   - A function with a loop that does not call keeps its fuel in a local, which
//     the engine keeps in a register. Elsewhere each charge goes to the global.
//   - Such a loop is strip-mined: its head only leaves for a loop around it, whose
//     head calls refill. The call then does not spill the inner loop's variables.
//   - Where fuel is left comes first in each check: the engine decides registers by
//     the first path that it sees to a place.
//   - A br_if without values becomes an if with a br, of which the engine makes a
//     compare and a jump instead of five instructions.
//   - Only functions on a cycle of the call graph count call depth.
//
// How deep a guest may call. Each function weighs what its frame takes of the
// engine's stack, in units of 512 bytes and rounded up: a bound worked out from
// the module alone (frame.go), so that the depth limit always ends a guest before
// the engine's own limit does, at the same call on every engine and machine.
//
// One instruction that fills or copies much memory is done in pieces, between which
// the guest can be stopped (bulk.go).
//
// Measure it with "go run -C .ci/meterbench .", beside wasmtime's fuel.
//
// Limits: the fields of Caps. Test it with "go test ./wasmhost/meter".
package meter

// Version of the cost table and of where charges and checks stand. Fuel totals
// are comparable only between equal versions, so it is part of every event, and
// compiled code is kept under it; raise it with any change that alters a total,
// what a frame weighs, or what Instrument emits.
const Version = 6

// Names of what Instrument adds. A module that brings them itself is refused
// (rules reserved_export, unknown_import).
const (
	reservedPrefix = "__cx_"

	// RefillModule and RefillName are the import of type (i64) -> i64 that the
	// host provides. The parameter is the (negative) fuel left, the result the
	// same plus the grant; the host adds the grant to FuelGlobal too, which may
	// be staler than the parameter.
	RefillModule = "__cx"
	RefillName   = "refill"

	// Look is the parameter of a refill that asks for no fuel: the guest is in the
	// middle of a long copy, and the host may stop it. The result is dropped, and
	// FuelGlobal is up to date and stays.
	Look = 0

	// FillName and CopyName are, in the name section, functions that do long
	// operations on memory piece by piece for the function that calls them. They
	// use no fuel, and are no part of a profile: FirstAdded tells them from a
	// guest's that have such names.
	FillName = "__cx_fill"
	CopyName = "__cx_copy"

	// FuelGlobal is the exported i64 global of fuel left in this slice. Before
	// an entry the host sets it to the first grant. At a trap other than by
	// unreachable it may miss what was burnt since the function's entry or its last
	// call: deterministically so.
	FuelGlobal = "__cx_fuel"

	// DepthGlobal is the exported i32 global of call depth left, in FrameUnit; the
	// host sets it to the limit before each entry. It is negative after a trap that the
	// depth check raised, and only then.
	DepthGlobal = "__cx_depth"

	// StartExport is the module's start function, which the host calls itself;
	// absent when there is none.
	StartExport = "__cx_start"

	stateGlobalPrefix = "__cx_g"
)
