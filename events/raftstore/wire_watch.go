package raftstore

import (
	"io"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// watch sees to it that raft's goroutine, which does nothing else while it reads a
// snapshot, does not wait for bytes for ever: a sender that stands still, or a member that
// closes, ends the connections that come from there. The sender begins anew when it goes
// on; until then this member has a vote that others may need. The caller ends the watch.
func (w *wire) watch(r *raft.RPC) (end func()) {
	ask, ok := r.Command.(*raft.InstallSnapshotRequest)
	if !ok {
		return func() {}
	}
	_, from, err := splitAddress(raft.ServerAddress(ask.Addr))
	if err != nil {
		return func() {} // no member sends that: nothing is known of whom to cut off
	}
	reader := &timedReader{r: r.Reader}
	r.Reader = reader
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		look := time.NewTicker(w.s.patience())
		defer look.Stop()
		for {
			select {
			case <-done:
				return
			case <-w.s.quit:
			case <-look.C:
				if reader.waits() <= w.s.patience() {
					continue
				}
				w.s.log.Warn("a snapshot's sender stands still", "from", from.String())
			}
			w.s.gate.cut(from)
			return
		}
	}()
	return func() { close(done); <-ended }
}

// timedReader knows for how long it has waited for bytes.
type timedReader struct {
	r     io.Reader
	since atomic.Pointer[time.Time] // when the wait began; nil between two
}

// Read implements io.Reader.
func (t *timedReader) Read(b []byte) (int, error) {
	now := time.Now()
	t.since.Store(&now)
	defer t.since.Store(nil)
	return t.r.Read(b)
}

func (t *timedReader) waits() time.Duration {
	if since := t.since.Load(); since != nil {
		return time.Since(*since)
	}
	return 0
}
