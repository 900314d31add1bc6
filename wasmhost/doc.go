// Package wasmhost compiles, instantiates and calls guests: untrusted
// WebAssembly modules under limits of fuel, memory, call depth, time and
// effects.
//
// It is not the agent: it knows one message at a time, buffers what the guest
// wants to have done, and does none of it. Storing, sending and replying are
// its callers' work, after the append.
//
// Guarantees: no module and no guest ends the process or panics through Handle;
// an outcome other than Timeout, Killed and HostFault is a function of module,
// state, message, HostRecord and limits, on any machine of one architecture;
// fuel does not depend on slice size or engine; what the guest learns of the
// world is its message, its state and the HostRecord.
//
// See DESIGN.md. Test it with "go test ./wasmhost/...".
package wasmhost
