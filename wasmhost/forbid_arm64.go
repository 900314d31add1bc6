package wasmhost

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_AARCH64

// archCalls are forbidden calls that only this processor has.
func archCalls() []uint32 { return nil }
