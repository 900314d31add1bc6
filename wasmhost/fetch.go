package wasmhost

import (
	"context"
	"errors"
	"fmt"

	"github.com/tetratelabs/wazero/experimental"

	"github.com/caxton-run/caxton/events"
)

// errNotCompiled is what ends the engine's compilation before it begins.
var errNotCompiled = errors.New("the engine does not find the code that the compiler's process left")

// fetch returns a module whose code the cache has, or a worker compiles. Nothing is
// compiled in this process, whatever the cache comes to: if the code is not what
// the engine looks for (damaged, taken away, or left by a worker of another
// version) it is made once more, and after that the fault is the machine's.
//
// Errors are those of codeCache.fill and prepare, and one that is no refusal.
func (h *Host) fetch(ctx context.Context, key moduleKey, wasm []byte) (translation, error) {
	opts := translateOptions{h.cfg.caps(), key.profiled}
	h.cache.pin(key)
	defer h.cache.unpin(key)
	for again := false; ; again = true {
		if err := h.cache.fill(ctx, key, wasm, opts.Caps); err != nil {
			return translation{}, err
		}
		t, metered, err := prepare(wasm, opts.Caps) // of what a worker found valid
		if err != nil {
			return translation{}, err
		}
		if t.code, err = h.rt.CompileModule(foundOnly(compileContext(opts, t.report)), metered); err == nil {
			return t, nil
		}
		if h.isClosed() {
			return translation{}, events.ErrClosed
		}
		if e := h.cache.drop(key); e != nil || again {
			return translation{}, fmt.Errorf("wasmhost: load compiled code: %w", errors.Join(err, e))
		}
	}
}

// foundOnly is a context under which the engine takes code that its cache has and
// compiles none: it is over. The engine looks at that only where it has several
// goroutines compile, so it is told to.
func foundOnly(compile context.Context) context.Context {
	ctx, cancel := context.WithCancelCause(experimental.WithCompilationWorkers(compile, 2))
	cancel(errNotCompiled)
	return ctx
}
