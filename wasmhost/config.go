package wasmhost

import (
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/wasmhost/meter"
)

// Config bounds a Host. All fields are > 0.
type Config struct {
	MaxModuleBytes int           // of an uploaded module; at most meter.MaxModuleBytes. It replaces Caps.ModuleBytes
	Caps           meter.Caps    // what the structural gate admits
	InitFuel       events.Fuel   // for the start function, _initialize and caxton_init together; Go's runtime needs much
	InitTimeout    time.Duration // wall clock, for the same; not the agent's limit, which is for messages and may be a millisecond
	Slice          events.Fuel   // granted at a time; between slices a call can be stopped and Go's scheduler runs
	CallDepth      uint32        // nested calls of small functions; large ones weigh more (meter.FrameUnit)
	MaxEffects     int           // sends, state and timer changes of one message
	MaxEffectBytes int           // of reply, sends, keys and values of one message
	MaxLogBytes    int           // of log text of one message; what is over is dropped
	IdleModules    int           // compiled modules that are kept though no agent uses them
	CompileSlots   int           // modules compiled at the same time
	CompileQueue   int           // modules compiled or waiting for that, beyond which uploads should wait outside
	GuestMemory    int64         // bytes of all guests' linear memories together, touched or not, 1 MiB to 64 TiB
	ProcessMemory  int64         // bytes that this process may have in memory, 64 MiB to 64 TiB; beyond its share guests get no more. 0: not known, no bound
	ImageMemory    int64         // bytes of the initial images of all modules, on the heap, 1 MiB to 1 TiB; what finds no room is not kept
	GuestStacks    int64         // bytes of running guests' stacks, of those over 64 KiB; beyond it deep calls end with HostFault. 16 MiB to 64 TiB
	WarmGuests     int           // guests that keep the engine's stacks between calls, the last ones called

	// Isolation compiles in child processes. nil compiles in this one: for tests
	// and tools whose modules are their own.
	Isolation *Isolation
}

// DefaultConfig returns the limits of a node that is told nothing else.
func DefaultConfig() Config {
	return Config{
		MaxModuleBytes: 8 << 20,
		Caps:           meter.DefaultCaps(),
		InitFuel:       500_000_000,
		InitTimeout:    10 * time.Second, // 40 times what so much fuel takes; a guest that reads memory at random takes longer for it
		Slice:          100_000,          // 12 to 100 µs of computing, during which a guest delays a collection; a refill costs well below 1 µs
		CallDepth:      10_000,           // at most 6 MiB of frames (meter.StackBytes), 1.5 MiB in common modules
		MaxEffects:     1024,
		MaxEffectBytes: 512 << 10, // with base64 and the message itself below events.MaxAppendBytes
		MaxLogBytes:    16 << 10,
		IdleModules:    64,
		CompileSlots:   2,
		CompileQueue:   32,
		GuestMemory:    256 << 30, // addresses rather than memory: a small guest has 64 KiB and touches 8
		ImageMemory:    512 << 20, // hundreds of Go modules, or eight of the largest images
		GuestStacks:    512 << 20, // 50 of the deepest guests at a time; common ones have 10 KiB
		WarmGuests:     1024,      // 24 MiB; an agent that rests costs 5 KiB instead of 28
	}
}

// Validate reports all fields out of bounds as one *events.InvalidError.
func (c Config) Validate() error {
	var f events.Faults
	for _, x := range []struct {
		name     string
		v        uint64
		min, max uint64
	}{
		{"max_module_bytes", uint64(c.MaxModuleBytes), 8, meter.MaxModuleBytes},
		{"init_fuel", uint64(c.InitFuel), 1, uint64(events.LimitCeilings().MaxFuel)},
		{"init_timeout_ms", uint64(c.InitTimeout.Milliseconds()), 1, 600_000},
		{"slice", uint64(c.Slice), 1, 1 << 30},
		{"max_effects", uint64(c.MaxEffects), 1, events.MaxAppendEvents},
		{"max_effect_bytes", uint64(c.MaxEffectBytes), 1, events.MaxAppendBytes},
		{"max_log_bytes", uint64(c.MaxLogBytes), 1, events.MaxAppendBytes},
		{"idle_modules", uint64(c.IdleModules), 1, 1 << 16},
		{"compile_slots", uint64(c.CompileSlots), 1, 1024},
		{"compile_queue", uint64(c.CompileQueue), 1, 1 << 16},
		{"guest_memory", uint64(c.GuestMemory), 1 << 20, 64 << 40}, // half of what a process of amd64 can address
		{"image_memory", uint64(c.ImageMemory), 1 << 20, 1 << 40},
		{"guest_stacks", uint64(c.GuestStacks), 16 << 20, 64 << 40}, // one of the deepest guest at least
		{"warm_guests", uint64(c.WarmGuests), 1, 1 << 20},
	} {
		if x.v < x.min || x.v > x.max {
			f.Add("wasmhost."+x.name, "must be %d to %d, got %d", x.min, x.max, x.v)
		}
	}
	if m := c.ProcessMemory; m != 0 && (m < 64<<20 || m > 64<<40) {
		f.Add("wasmhost.process_memory", "must be 0 or %d to %d, got %d", 64<<20, int64(64<<40), m)
	}
	f.Merge("wasmhost.call_depth", meter.CheckDepth(c.CallDepth))
	f.Merge("wasmhost.caps", c.caps().Validate())
	if c.Isolation != nil {
		c.Isolation.validate(&f)
	}
	return f.Err()
}

// caps returns the gate's caps with the one module size that counts.
func (c Config) caps() meter.Caps {
	caps := c.Caps
	caps.ModuleBytes = c.MaxModuleBytes
	return caps
}
