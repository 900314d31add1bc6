package wasmhost

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/wasmhost/meter"
)

// features are WebAssembly 2.0 and extended constants, which newer toolchains
// emit. What is not here is refused by the meter by name.
const features = api.CoreFeaturesV2 | experimental.CoreFeaturesExtendedConst

// Host compiles modules and makes instances of them. All methods may be called
// from any goroutine.
type Host struct {
	cfg        Config
	rt         wazero.Runtime
	cache      *codeCache    // nil: modules are compiled in this process
	slots      chan struct{} // one token per compilation that may run
	background chan struct{} // one token per call in the background
	zstd       *codec
	bare       wazero.ModuleConfig // of every instance

	memory memoryBudget
	images imageBudget
	warm   warmRing
	live   atomic.Int64 // instances that are not closed
	engine atomic.Int64 // bytes that the engine takes for them, without stacks
	deep   atomic.Int64 // bytes of running guests' stacks, of those larger than maxWarmStack
	builds atomic.Int64 // under way or waiting for a slot

	mu      sync.Mutex // guards the rest and Module.refs, Module.idle
	modules map[moduleKey]*Module
	idle    *list.List // of *Module without references, least recently used first
	closed  bool
}

// moduleKey names a compiled module: one of an upload is made to take profiles.
type moduleKey struct {
	hash     events.ModuleHash
	profiled bool
}

// engineConfig returns the engine's settings. The interpreter exists for
// validation and for tests that compare engines: it is not what a machine without
// a compiler falls back on, because it holds fewer calls than guests may nest.
func engineConfig(interpreter bool) wazero.RuntimeConfig {
	cfg := wazero.NewRuntimeConfigCompiler()
	if interpreter {
		cfg = wazero.NewRuntimeConfigInterpreter()
	}
	return cfg.WithCoreFeatures(features).WithDebugInfoEnabled(false)
}

// New returns a Host. Errors: *events.InvalidError for cfg. Close it.
func New(ctx context.Context, cfg Config) (*Host, error) {
	return newHost(ctx, cfg, engineConfig(false))
}

func newHost(ctx context.Context, cfg Config, engine wazero.RuntimeConfig) (*Host, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	zstd, err := newCodec()
	if err != nil {
		return nil, err
	}
	h := &Host{
		cfg: cfg, zstd: zstd, slots: make(chan struct{}, cfg.CompileSlots),
		background: make(chan struct{}, backgroundPlaces()),
		modules:    make(map[moduleKey]*Module), idle: list.New(), bare: instanceConfig(),
	}
	h.memory.limit, h.memory.most = cfg.GuestMemory, cfg.ProcessMemory
	h.warm.places = make([]atomic.Pointer[warmGuest], cfg.WarmGuests)
	if cfg.Isolation != nil {
		if h.cache, err = openCodeCache(*cfg.Isolation); err != nil {
			return nil, fmt.Errorf("wasmhost: compiled code: %w", err)
		}
		engine = engine.WithCompilationCache(h.cache.engine)
	}
	if h.rt, err = newRuntime(ctx, engine); err != nil {
		return nil, errors.Join(err, h.closeEngine(ctx))
	}
	if err := h.offer(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("wasmhost: offer host functions: %w", err), h.closeEngine(ctx))
	}
	return h, nil
}

// newRuntime turns the engine's panic on a machine that it cannot compile for into
// an error.
func newRuntime(ctx context.Context, engine wazero.RuntimeConfig) (rt wazero.Runtime, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("wasmhost: the engine does not compile for %s/%s: %v", runtime.GOOS, runtime.GOARCH, r)
		}
	}()
	return wazero.NewRuntimeWithConfig(ctx, engine), nil
}

func (h *Host) closeEngine(ctx context.Context) (err error) {
	if h.rt != nil {
		err = h.rt.Close(ctx)
	}
	if h.cache != nil {
		err = errors.Join(err, h.cache.engine.Close(ctx))
	}
	return err
}

// Close frees all compiled modules. Instances must not be in use any more.
func (h *Host) Close(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	h.closed = true
	h.zstd.close()
	h.warm.cool()
	h.memory.slabs.close()
	return h.closeEngine(ctx)
}

// Compile makes a module of the bytes of an upload, or returns the one it has:
// gate, validation of the original, instrumentation, compilation. The caller
// owns one reference; Release it. wasm is not kept.
//
// Errors: *events.RefusedError; one that wraps events.ErrInvalidWasm;
// events.ErrClosed; ctx's error while waiting for others.
func (h *Host) Compile(ctx context.Context, wasm []byte) (*Module, error) {
	return h.compile(ctx, moduleKey{hash: events.HashModule(wasm)}, given(wasm))
}

// CompileStored is Compile of a module whose bytes load brings, those of this hash. One
// of those who want it is asked for them, when its turn has come: thousands of agents may
// wake with the same module, and each would hold it while they wait. Errors are also
// load's.
func (h *Host) CompileStored(ctx context.Context, hash events.ModuleHash, load Loader) (*Module, error) {
	return h.compile(ctx, moduleKey{hash: hash}, load)
}

// Loader brings the bytes of a module.
type Loader func(ctx context.Context) (wasm []byte, err error)

func given(wasm []byte) Loader {
	return func(context.Context) ([]byte, error) { return wasm, nil }
}

func (h *Host) compile(ctx context.Context, key moduleKey, load Loader) (*Module, error) {
	for {
		m, leader, err := h.acquire(key)
		if err != nil {
			return nil, err
		}
		if leader {
			h.lead(ctx, m, load)
		}
		select {
		case <-m.ready:
		case <-ctx.Done():
			m.Release()
			return nil, ctx.Err()
		}
		var gone *abandonedError
		switch {
		case m.err == nil:
			return m, nil
		case errors.As(m.err, &gone) && !leader:
			continue // its context ended or its loader failed, not ours
		case gone != nil:
			return nil, gone.cause
		}
		return nil, m.err
	}
}

// MemoryBytes is the size of all guests' linear memories, touched or not: cheap,
// where MemoryUsage is exact.
func (h *Host) MemoryBytes() int64 { return h.memory.used.Load() }

// Crowded reports whether so many modules wait to be compiled that a new one
// should be refused. Modules of agents that are deployed already never are.
func (h *Host) Crowded() bool { return h.builds.Load() >= int64(h.cfg.CompileQueue) }

// Cached returns a module that is compiled, with a new reference.
func (h *Host) Cached(hash events.ModuleHash) (*Module, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.modules[moduleKey{hash: hash}]
	if m == nil || h.closed {
		return nil, false
	}
	select {
	case <-m.ready:
	default:
		return nil, false
	}
	h.retain(m) // a module that failed is not in the table
	return m, true
}

// acquire returns the module of a key with a new reference; leader says that it
// is new and the caller has to build it.
func (h *Host) acquire(key moduleKey) (m *Module, leader bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, false, events.ErrClosed
	}
	if m := h.modules[key]; m != nil {
		h.retain(m)
		return m, false, nil
	}
	m = &Module{host: h, hash: key.hash, profiled: key.profiled, refs: 1, ready: make(chan struct{})}
	h.modules[key] = m
	return m, true, nil
}

func (h *Host) isClosed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.closed
}

// use adds the reference of an instance.
func (h *Host) use(m *Module) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return events.ErrClosed
	}
	h.retain(m)
	return nil
}

// abandonedError is a build that its leader did not come to, for a reason that is no
// matter of the others who wait for it.
type abandonedError struct{ cause error }

func (e *abandonedError) Error() string { return e.cause.Error() }

// lead builds m and tells those who wait. A failed module leaves the table, so
// nothing remembers failures but the caller.
func (h *Host) lead(ctx context.Context, m *Module, load Loader) {
	m.err = &abandonedError{errLoaderPanicked} // until it ends otherwise: whoever supervises the leader sees the panic
	defer h.led(m)
	h.builds.Add(1)
	select {
	case h.slots <- struct{}{}:
		m.err = h.loadAndBuild(ctx, m, load)
	case <-ctx.Done():
		m.err = &abandonedError{ctx.Err()}
	}
}

var errLoaderPanicked = errors.New("who was to load the module panicked")

// led is the end of lead, however it came.
func (h *Host) led(m *Module) {
	defer close(m.ready)
	h.builds.Add(-1)
	if m.err != nil {
		h.mu.Lock()
		delete(h.modules, m.key())
		if h.closed {
			m.err = events.ErrClosed // not the module's fault
		}
		h.mu.Unlock()
	}
}

// loadAndBuild fills m, and gives the slot back. Whoever waits has a loader of their own.
func (h *Host) loadAndBuild(ctx context.Context, m *Module, load Loader) error {
	defer func() { <-h.slots }()
	wasm, err := load(ctx)
	if err != nil {
		return &abandonedError{err}
	}
	return h.build(ctx, m, wasm)
}

// build fills m. A panic of the engine's compiler is a refusal: the module is
// at fault until the compiler is mended, and the node goes on.
func (h *Host) build(ctx context.Context, m *Module, wasm []byte) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &events.RefusedError{Rule: "engine_fault", Detail: fmt.Sprintf("the compiler failed: %.200v", r)}
		}
	}()
	if _, err := meter.Check(wasm, h.cfg.caps()); err != nil {
		return err
	}
	var t translation
	if h.cache == nil {
		if err = validate(ctx, wasm); err == nil {
			t, err = translate(ctx, h.rt, wasm, translateOptions{h.cfg.caps(), m.profiled})
		}
	} else {
		t, err = h.fetch(ctx, m.key(), wasm)
	}
	if err != nil {
		return err
	}
	m.code, m.report, m.size = t.code, t.report, t.size
	m.describe()
	return nil
}

// translation is a module that the engine has compiled.
type translation struct {
	code   wazero.CompiledModule
	report meter.Report
	size   moduleSize
}

// translateOptions is all that the code of a module depends on beside it. A worker
// is told the same.
type translateOptions struct {
	Caps     meter.Caps
	Profiled bool
}

// translate makes code of a module that is known to be valid.
func translate(ctx context.Context, rt wazero.Runtime, wasm []byte, opts translateOptions) (translation, error) {
	t, metered, err := prepare(wasm, opts.Caps)
	if err != nil {
		return translation{}, err
	}
	t.code, err = rt.CompileModule(compileContext(opts, t.report), metered)
	if err != nil {
		return translation{}, &events.RefusedError{Rule: "engine_fault", Detail: "the metered module does not compile: " + firstLine(err.Error())}
	}
	return t, nil
}

// prepare returns what the engine is given to compile, and what is known of it.
func prepare(wasm []byte, caps meter.Caps) (t translation, metered []byte, err error) {
	if metered, t.report, err = meter.Instrument(wasm, meter.Options{Caps: caps}); err != nil {
		return translation{}, nil, err
	}
	if metered, t.size, err = tidy(metered); err != nil {
		return translation{}, nil, &events.RefusedError{Rule: "engine_fault", Detail: "the metered module: " + err.Error()}
	}
	t.size.bytes = len(metered)
	return t, metered, nil
}

// compileContext is never cancelled: half a compilation is of no use.
func compileContext(opts translateOptions, rep meter.Report) context.Context {
	if !opts.Profiled {
		return context.Background()
	}
	return experimental.WithFunctionListenerFactory(context.Background(), listener{meter.FirstAdded(rep)})
}

// validate lets the engine check types. The interpreter is used, because it
// compiles in a fraction of the time, and a fresh one, because an engine
// remembers the types of all modules it has seen.
func validate(ctx context.Context, wasm []byte) error {
	core, err := meter.Core(wasm)
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	rt := wazero.NewRuntimeWithConfig(ctx, engineConfig(true))
	defer func() { _ = rt.Close(ctx) }()
	if _, err := rt.CompileModule(ctx, core); err != nil {
		return fmt.Errorf("%w: %s", events.ErrInvalidWasm, firstLine(err.Error()))
	}
	return nil
}

// firstLine cuts an engine's error to what a person reads.
func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	if len(s) > 300 {
		s = s[:300]
	}
	return strings.ToValidUTF8(s, "?")
}
