package projections

import (
	"context"
	"runtime"
	"sync"

	"github.com/caxton-run/caxton/events"
)

// A batch of records is decoded by one goroutine. It is long enough that handing it
// over costs next to nothing, and short enough that those under way are not many bytes.
const (
	batchEvents = 256
	batchBytes  = 256 << 10
)

// decoded is a record and what it says.
type decoded struct {
	rec     events.Recorded
	payload events.Payload // nil for one of nobody's stream
	err     error          // of decoding
}

func decode(rec events.Recorded) decoded {
	d := decoded{rec: rec}
	// A stream that only looks like an agent's, in a log that others write to
	// as well, is nobody's state, and what stands in it ends nothing.
	if _, ok := rec.Stream.AgentID(); ok {
		d.payload, d.err = events.Decode(rec.Event)
	}
	return d
}

// batch is some records of the log in order.
type batch struct {
	list []decoded
	size int
	err  error         // of the read, behind the last of them
	done chan struct{} // closed when all are decoded
}

// ahead reads a log and decodes it on all processors, because decoding is most of what
// a rebuild takes; the batches come in the order of the log.
type ahead struct {
	order chan *batch // closed behind the last
	work  chan *batch
	group sync.WaitGroup
}

// readAhead reads what the log holds up to head. The caller takes order until it is
// closed, or ends ctx, and then waits.
func readAhead(ctx context.Context, store events.Store, filter events.Filter, head events.Position) *ahead {
	workers := runtime.GOMAXPROCS(0)
	a := &ahead{order: make(chan *batch, 2*workers), work: make(chan *batch, 2*workers)}
	a.group.Go(func() { a.read(ctx, store, filter, head) })
	for range workers {
		a.group.Go(a.decode)
	}
	return a
}

func (a *ahead) wait() { a.group.Wait() }

func (a *ahead) read(ctx context.Context, store events.Store, filter events.Filter, head events.Position) {
	defer close(a.work)
	defer close(a.order)
	b := newBatch()
	for rec, err := range store.ReadAll(ctx, events.ReadAllOptions{Filter: filter}) {
		if err != nil {
			b.err = err
			break
		}
		if rec.Position > head {
			break // the subscription brings it
		}
		b.list, b.size = append(b.list, decoded{rec: rec}), b.size+rec.Size()
		if len(b.list) < batchEvents && b.size < batchBytes {
			continue
		}
		if !a.hand(ctx, b) {
			return
		}
		b = newBatch()
	}
	a.hand(ctx, b)
}

func newBatch() *batch { return &batch{done: make(chan struct{})} }

// hand gives a batch to whoever decodes it, and then to whoever waits for it.
func (a *ahead) hand(ctx context.Context, b *batch) bool {
	for _, to := range []chan<- *batch{a.work, a.order} {
		select {
		case to <- b:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

func (a *ahead) decode() {
	for b := range a.work {
		for i := range b.list {
			b.list[i] = decode(b.list[i].rec)
		}
		close(b.done)
	}
}
