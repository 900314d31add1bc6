package wasmhost

import (
	"container/list"
	"context"
	"encoding/binary"
	"encoding/hex"
	"runtime"
	"sync/atomic"

	"github.com/tetratelabs/wazero"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/wasmhost/meter"
)

const pageBytes = 64 << 10 // of WebAssembly's linear memory

// Names of the guest's exports: ABI v1.
const (
	exportMemory     = "memory"
	exportAlloc      = "caxton_alloc"
	exportHandle     = "caxton_handle"
	exportInit       = "caxton_init"
	exportMigrate    = "caxton_migrate"
	exportInitialize = "_initialize"
)

// Info is what a module says about itself.
type Info struct {
	Size            int  // bytes, as uploaded
	HandlesMessages bool // whether it exports caxton_handle
	Migrates        bool // whether it also exports caxton_migrate
	Imports         []string
	MinMemoryBytes  uint64
	MaxMemoryBytes  uint64 // what the module declares; an agent's limit may be lower
	Snapshotable    bool   // whether memory and globals are all its state
	Warnings        []string
}

// Module is a compiled module. It is immutable; one serves all its instances
// and all limits.
type Module struct {
	host     *Host
	hash     events.ModuleHash
	profiled bool // its instances take profiles
	info     Info
	report   meter.Report
	size     moduleSize
	native   atomic.Int64 // bytes of machine code; 0 until there was an instance
	charge   uint64       // bytes of an agent's limit that are not for its linear memory
	code     wazero.CompiledModule
	image    atomic.Pointer[image] // the state after initialisation, once known
	abi      string                // why calling it is hopeless; empty when its exports are as they should be

	ready chan struct{} // closed when code or err is set
	err   error

	refs int           // guarded by host.mu
	idle *list.Element // guarded by host.mu; set iff refs is 0
}

func (m *Module) key() moduleKey { return moduleKey{m.hash, m.profiled} }

// Hash is the SHA-256 of the module as it was uploaded.
func (m *Module) Hash() events.ModuleHash { return m.hash }

// Machine is the architecture that the module's runs belong to, this process's; empty
// for a module that comes to the same on all. The specification leaves the bits of a
// NaN that arithmetic makes to the processor, and amd64 and arm64 choose others.
func (m *Module) Machine() string {
	if m.size.floats {
		return runtime.GOARCH
	}
	return ""
}

// Info describes the module. The slices are shared: read only.
func (m *Module) Info() Info { return m.info }

// Release gives up a reference that Compile gave. An unused module stays
// compiled until Config.IdleModules others have become unused after it.
func (m *Module) Release() {
	h := m.host
	h.mu.Lock()
	defer h.mu.Unlock()
	if m.refs--; m.refs > 0 || h.closed || h.modules[m.key()] != m {
		return
	}
	m.idle = h.idle.PushBack(m)
	if m.image.Load().bytes() > maxIdleImage {
		h.dropImage(m)
	}
	h.dropIdle(h.cfg.IdleModules)
}

// dropIdle frees the unused modules but the last ones that were used, and
// returns how many. The caller holds h.mu.
func (h *Host) dropIdle(keep int) (dropped int) {
	for ; h.idle.Len() > keep; dropped++ {
		old := h.idle.Remove(h.idle.Front()).(*Module)
		old.idle = nil
		delete(h.modules, old.key())
		h.dropImage(old)
		if old.code != nil {
			_ = old.code.Close(context.Background()) // frees memory only; it has no error to report
		}
	}
	return dropped
}

// retain adds a reference. The caller holds h.mu.
func (h *Host) retain(m *Module) {
	m.refs++
	if m.idle != nil {
		h.idle.Remove(m.idle)
		m.idle = nil
	}
}

// describe fills in what the report says.
func (m *Module) describe() {
	rep := m.report
	m.charge = m.size.charge()
	m.info = Info{
		Size: rep.Size, Snapshotable: rep.Snapshotable(),
		MinMemoryBytes: uint64(rep.MemoryMinPages) * pageBytes,
		MaxMemoryBytes: uint64(rep.MemoryMaxPages) * pageBytes,
	}
	for _, i := range rep.Imports {
		m.info.Imports = append(m.info.Imports, i.Module+"."+i.Name)
	}
	exports := make(map[string]meter.Export, len(rep.Exports))
	for _, e := range rep.Exports {
		exports[e.Name] = e
	}
	_, m.info.HandlesMessages = exports[exportHandle]
	_, m.info.Migrates = exports[exportMigrate]
	m.info.Migrates = m.info.Migrates && m.info.HandlesMessages
	m.abi = checkExports(exports)
	switch {
	case !m.info.HandlesMessages:
		m.warn("handles no messages: it does not export " + exportHandle)
	case m.abi != "":
		m.warn("cannot be called: " + m.abi)
	}
	if !m.info.Snapshotable {
		m.warn(events.WarnReplayOnly + ": it changes tables, drops segments or holds references in globals")
	}
}

func (m *Module) warn(s string) { m.info.Warnings = append(m.info.Warnings, s) }

// checkExports returns what is wrong with a module's exports, or nothing.
func checkExports(exports map[string]meter.Export) string {
	for _, want := range []meter.Export{
		{Name: exportHandle, Kind: "function", Signature: "(i32, i32) -> (i32)"},
		{Name: exportAlloc, Kind: "function", Signature: "(i32) -> (i32)"},
		{Name: exportMemory, Kind: "memory"},
	} {
		got, ok := exports[want.Name]
		switch {
		case !ok:
			return "it does not export " + want.Name
		case got.Kind != want.Kind:
			return want.Name + " is a " + got.Kind + ", not a " + want.Kind
		case got.Signature != want.Signature:
			return want.Name + " has type " + got.Signature + ", not " + want.Signature
		}
	}
	for _, want := range [][2]string{{exportInit, "() -> (i32)"}, {exportInitialize, "() -> ()"}, {exportMigrate, "(i32, i32) -> (i32)"}} {
		got, ok := exports[want[0]]
		if ok && (got.Kind != "function" || got.Signature != want[1]) {
			return want[0] + " is not a function of type " + want[1]
		}
	}
	return ""
}

// seed of the random bytes of a module's initial image: fixed, so that the
// image is a function of the module.
func (m *Module) seed() uint64 {
	b, err := hex.DecodeString(string(m.hash[:16]))
	if err != nil { // HashModule made it
		panic(err)
	}
	return binary.BigEndian.Uint64(b)
}
