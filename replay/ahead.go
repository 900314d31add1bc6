package replay

import (
	"context"
	"errors"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/wasmhost"
)

// Which module a snapshot needs, it says itself, and while it is read it takes room that
// others wait for. Compiling takes up to half a minute and waits for its turn. So a
// snapshot whose module is not compiled is let go, and read again when it is.

// errLacks ends a look at snapshots for the sake of a module.
var errLacks = errors.New("the module is not compiled")

// withModules has find put the rebuild on a snapshot, and again with each module that one
// lacked. What was fetched stays compiled meanwhile, and what cannot be had is not fetched
// again: each look lacks another module, or is the last.
func (r *rebuild) withModules(ctx context.Context, find func() error) error {
	r.fetched = make(map[events.ModuleHash]error)
	var held []*wasmhost.Module
	defer func() {
		for _, m := range held {
			m.Release()
		}
	}()
	for {
		r.lacks = ""
		if err := find(); err != nil || r.lacks == "" {
			return err
		}
		m, err := r.src.Modules.Module(ctx, r.lacks)
		if err == nil {
			held = append(held, m)
		}
		r.fetched[r.lacks] = err
	}
}

// module returns the module of a snapshot without compiling it. Error: errLacks, with
// r.lacks set; why it could not be fetched.
func (r *rebuild) module(ctx context.Context, h events.ModuleHash) (*wasmhost.Module, error) {
	if m, ok := r.src.Host.Cached(h); ok {
		defer m.Release() // when Modules has given one as well
		return r.src.Modules.Module(ctx, h)
	}
	err, tried := r.fetched[h]
	switch {
	case !tried:
		r.lacks = h
		return nil, errLacks
	case err == nil:
		return nil, events.ErrClosed // the host let go of what is in use
	}
	return nil, err
}
