package wasmhost

// What an agent pays of its max_memory_bytes beside its linear memory, in bytes: the
// engine makes these anew for each instance, on the Go heap. Common guests stay below
// chargeFree and pay nothing; without the charge a module of 100 KB had 4.5 MiB of
// each agent whose limit is 1 MiB.
//
// A guest sees them, because memory.grow answers -1 that much sooner: they are part
// of the log's meaning, and change only with meter.Version. What the engine really
// takes is usage.go's to say.
const (
	chargeFree    = 256 << 10
	chargeGlobal  = 128
	chargeEntry   = 8  // of a table, as it begins; it may grow by less than 80 KB
	chargeElement = 40 // of an element segment, passive or not
	chargeSegment = 24 // of data; its bytes are the module's
)

// charge is what each instance of a module pays beside its memory.
func (s *moduleSize) charge() uint64 {
	n := s.globals*chargeGlobal + s.tables*chargeEntry + s.elements*chargeElement + s.segments*chargeSegment
	return uint64(max(0, n-chargeFree))
}

// memoryLimit is what is left of an agent's limit for the linear memory.
func (m *Module) memoryLimit(maxMemory uint64) uint64 {
	return maxMemory - min(maxMemory, m.charge)
}

// NeededMemory is the lowest max_memory_bytes that holds what the guest has now.
func (in *Instance) NeededMemory() uint64 { return in.MemoryBytes() + in.mod.charge }
