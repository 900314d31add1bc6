//go:build !amd64 && !arm64

package wasmhost

// auditArch is no processor that the engine compiles for.
const auditArch = 0

func archCalls() []uint32 { return nil }
