package actors

import (
	"context"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/wasmhost"
)

// modules compiles what the log stores. The host keeps compiled modules; this
// brings the bytes when it has none.
type modules struct {
	store events.Store
	host  *wasmhost.Host
}

// Module implements replay.Modules.
func (m modules) Module(ctx context.Context, h events.ModuleHash) (*wasmhost.Module, error) {
	if mod, ok := m.host.Cached(h); ok {
		return mod, nil
	}
	return m.host.CompileStored(ctx, h, func(ctx context.Context) ([]byte, error) {
		return events.LoadModule(ctx, m.store, h)
	})
}
