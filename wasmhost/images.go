package wasmhost

import "sync/atomic"

// keepImage makes the state after initialisation the module's initial image. An
// initialisation that was denied memory may have gone another way than under a
// higher limit, so it is nobody else's; one that was not goes the same way under
// every limit that holds its memory. filled is what filled said before.
//
// Without room for it nothing is kept: the module's instances are initialised each,
// which comes to the same, and their snapshots build on zeros. Room is had before the
// copy is made: many modules may begin at a time.
func (in *Instance) keepImage(filled []uint32) {
	if !in.mod.info.Snapshotable || in.linear.denied {
		return
	}
	if g := in.mod.image.Load(); g != nil {
		in.base = g
		return
	}
	blocks, size := in.imageSize(filled)
	if blocks*blockBytes > maxImageBytes || !in.host.roomForImage(size) {
		return
	}
	g := in.capture(blocks)
	g.wipeOnly(filled)
	if !in.mod.image.CompareAndSwap(nil, g) { // both are the same
		in.host.images.drop(g)
		g = in.mod.image.Load() // the instance holds the module: it stays
	}
	in.base = g
}

// imageBudget counts the bytes of kept images.
type imageBudget struct{ used atomic.Int64 }

func (b *imageBudget) drop(g *image) { b.used.Add(-g.bytes()) }

// take adds n bytes, or says no.
func (b *imageBudget) take(n, limit int64) bool {
	if b.used.Add(n) > limit {
		b.used.Add(-n)
		return false
	}
	return true
}

// roomForImage takes n bytes of Config.ImageMemory, for which modules that no agent
// uses give up their images, those not used for longest first.
func (h *Host) roomForImage(n int64) bool {
	limit := h.cfg.ImageMemory
	if h.images.take(n, limit) {
		return true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for e := h.idle.Front(); e != nil && h.images.used.Load()+n > limit; e = e.Next() {
		h.dropImage(e.Value.(*Module))
	}
	return h.images.take(n, limit)
}

// dropImage takes the image of a module without an instance. The caller holds h.mu.
func (h *Host) dropImage(m *Module) {
	if g := m.image.Swap(nil); g != nil {
		h.images.drop(g)
	}
}
