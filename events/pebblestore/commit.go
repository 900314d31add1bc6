package pebblestore

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/caxton-run/caxton/events"
)

// Bounds of one group commit: what is gathered while the disk is busy. Larger
// groups gain nothing and make the appends in them wait for each other.
const (
	maxGroupAppends = 1024
	maxGroupBytes   = 4 << 20
	eventOverhead   = 512 // bytes of keys and nodes that an event takes in memory beside its own

	// queueLength is how many appends may wait before Append blocks its caller.
	queueLength = 1024
)

// operation is what a request asks for.
type operation uint8

const (
	opAppend operation = iota
	opMetadata
	opDelete
	opTombstone
	opScavenge
)

// request is one change on its way through the committer.
type request struct {
	ctx          context.Context
	op           operation
	id           events.EventID // of the event that tells of it, unless it is an append
	stream       events.Stream  // for which it was asked
	expected     events.ExpectedRevision
	events       []events.Event        // opAppend
	correlations []string              // one per event; nil until correlate
	size         int                   // bytes
	metadata     events.StreamMetadata // opMetadata
	scavenge     scavenged             // opScavenge

	looked bool   // the ids of events were not in the stream
	groups uint64 // that were written by then

	answer chan answer // of capacity 1: the committer never waits for a caller
}

type answer struct {
	result events.Result
	err    error
}

// answered is a request with its answer, held back until all the answer rests
// on is durable.
type answered struct {
	req *request
	answer
}

// group is what one fsync makes durable.
type group struct {
	lanes    *lanes        // nil when nothing is written
	batch    *pebble.Batch // what was in lanes, after close
	answers  []answered
	streams  []events.Stream // that were written, with repetitions
	next     events.Position // of the log after this group
	root     root            // at next
	appends  int             // written, for the statistics
	events   int
	bytes    int // of events, for the statistics
	cost     int // bytes in memory
	knownIDs map[streamID]struct{}
}

type streamID struct {
	stream events.Stream
	id     events.EventID
}

// begin sees to it that the group can be written to.
func (g *group) begin(db *pebble.DB) {
	if g.lanes == nil {
		g.lanes = &lanes{db: db}
		g.knownIDs = make(map[streamID]struct{})
	}
}

// close makes the batch of a group that nothing more is written to.
func (g *group) close() { g.batch, g.lanes = g.lanes.join(), nil }

// full reports whether the group should take no further append.
func (g *group) full() bool { return len(g.answers) >= maxGroupAppends || g.cost >= maxGroupBytes }

// repeats reports whether the group holds one of r's events already, or the
// metadata that r changes: then r cannot be judged by looking at the database.
func (g *group) repeats(r *request) bool {
	if len(g.knownIDs) == 0 {
		return false
	}
	if r.op == opDelete && slices.Contains(g.streams, events.MetadataStream(r.stream)) {
		return true
	}
	for i := range r.events {
		if _, ok := g.knownIDs[streamID{r.stream, r.events[i].ID}]; ok {
			return true
		}
	}
	return false
}

// committer turns requests into groups. Its goroutine is started by Open and
// ends after quit was closed; nothing else touches its fields.
//
//	callers → queue → committer → syncing → syncer → callers, subscribers
//
// The hand-over to the syncer is unbuffered: one group waits for its fsync while
// the next is built and written. Letting more wait makes groups smaller and was
// measured to be slower.
type committer struct {
	s      *Store
	state  state
	recent recent
	held   *request
}

// run is the committer's goroutine.
func (c *committer) run() {
	defer close(c.s.syncing) // the syncer ends after the last group
	for {
		select {
		case r := <-c.s.queue:
			c.commit(r)
			for c.held != nil {
				r, c.held = c.held, nil
				c.commit(r)
			}
		case <-c.s.quit:
			c.refuseWaiting()
			return
		}
	}
}

// refuseWaiting answers what nobody will commit any more. Requests that slip
// into the queue later are answered by Append itself.
func (c *committer) refuseWaiting() {
	for {
		select {
		case r := <-c.s.queue:
			r.answer <- answer{err: fmt.Errorf("append to %s: %w", r.stream, events.ErrClosed)}
		default:
			return
		}
	}
}

// commit gathers a group that begins with first, writes it, and hands it to the
// syncer. A request that must wait for the group to be written stays in held.
func (c *committer) commit(first *request) {
	g := &group{}
	c.add(g, first)
	for c.held == nil && !g.full() {
		select {
		case r := <-c.s.queue:
			c.add(g, r)
			continue
		default:
		}
		break
	}
	if g.lanes != nil {
		mustSet(g.lanes, appliedKey(), encodeApplied(c.state.next, c.state.root))
		g.close()
		// Readers would see the batch from here on, did they not stop at the
		// durable head.
		if err := c.s.db.ApplyNoSyncWait(g.batch, pebble.Sync); err != nil {
			c.s.isolate(fmt.Sprintf("write to the log: %v", err))
			g.batch = nil // was not accepted: there is no sync to wait for
		} else {
			c.recent.note(g.knownIDs)
			c.s.groups.Store(c.recent.count)
		}
	}
	g.next, g.root = c.state.next, c.state.root
	c.state.heads.age()
	c.s.syncing <- g
}

// add decides one request and puts it into g.
func (c *committer) add(g *group, r *request) {
	if err := r.ctx.Err(); err != nil {
		r.answer <- answer{err: fmt.Errorf("append to %s: %w", r.stream, err)}
		return
	}
	if c.s.isolated.Load() {
		r.answer <- answer{err: fmt.Errorf("append to %s: %w", r.stream, events.ErrReadOnly)}
		return
	}
	if g.repeats(r) {
		c.held = r
		return
	}
	d, err := c.state.decide(c.s.db, r, c.s.opts.Now(), c.recent.fresh(r))
	if err == nil && d.write {
		err = c.write(g, r, d)
	}
	g.answers = append(g.answers, answered{r, answer{d.result, err}})
	g.cost += eventOverhead
}

// write applies one decided request to the group.
func (c *committer) write(g *group, r *request, d decision) error {
	g.begin(c.s.db)
	return c.state.write(g, r, d)
}

// write makes a command of one decided request and applies it to the group.
func (st *state) write(g *group, r *request, d decision) error {
	if r.op == opScavenge {
		st.command = appendScavenge(st.command[:0], r.scavenge)
		g.cost += len(r.scavenge.positions) * eventOverhead
		return st.apply(g.lanes, st.command)
	}
	st.command = appendCommand(st.command[:0], d.at, d.events, d.correlations)
	if err := st.apply(g.lanes, st.command); err != nil {
		return err
	}
	for i := range d.events {
		g.knownIDs[streamID{d.at.stream, d.events[i].ID}] = struct{}{}
	}
	g.streams = append(g.streams, d.at.stream)
	g.appends++
	g.events += len(d.events)
	g.bytes += r.size
	g.cost += r.size + len(d.events)*eventOverhead
	return nil
}

// syncLoop is the syncer's goroutine: it waits for the disk, moves the durable
// head, and only then lets anyone know. It ends when the committer has.
func (s *Store) syncLoop() {
	for g := range s.syncing {
		if err := s.waitSync(g); err != nil {
			s.isolate(err.Error())
		}
		if g.batch != nil && !s.isolated.Load() {
			s.low.raise(g.next)
			s.disk.wrote(g.bytes)
		}
		if !s.advance(Root{Next: g.next, Hash: g.root}) {
			for _, a := range g.answers {
				a.req.answer <- answer{err: fmt.Errorf("append to %s: %w", a.req.stream, events.ErrUnknownOutcome)}
			}
			continue
		}
		s.counters.count(g)
		for _, a := range g.answers {
			a.req.answer <- a.answer
		}
		s.hub.publish(g.streams)
	}
}

func (s *Store) waitSync(g *group) error {
	if g.batch == nil {
		return nil
	}
	if err := g.batch.SyncWait(); err != nil {
		return fmt.Errorf("sync the log: %w", err)
	}
	return g.batch.Close()
}

// Append implements events.Store.
func (s *Store) Append(ctx context.Context, stream events.Stream, expected events.ExpectedRevision, evs ...events.Event) (events.Result, error) {
	began := time.Now()
	if err := ctx.Err(); err != nil {
		return events.Result{}, fmt.Errorf("append to %s: %w", stream, err)
	}
	if err := validateAppend(stream, evs); err != nil {
		return events.Result{}, err
	}
	r := &request{ctx: ctx, stream: stream, expected: expected, events: evs, answer: make(chan answer, 1)}
	for i := range evs {
		r.size += evs[i].Size()
	}
	if s.propose == nil {
		r.correlate()
		s.foresee(r)
	}
	a := s.submit(ctx, r)
	if a.err == nil {
		s.opts.Observe(time.Since(began))
	}
	return a.result, a.err
}

// submit hands r to the committer and waits for its answer.
func (s *Store) submit(ctx context.Context, r *request) answer {
	fail := func(err error) answer {
		return answer{err: fmt.Errorf("append to %s: %w", r.stream, err)}
	}
	if s.closed.Load() {
		return fail(events.ErrClosed)
	}
	if s.readOnly || s.isolated.Load() {
		return fail(events.ErrReadOnly)
	}
	if err := s.disk.refusal(r); err != nil {
		return fail(err)
	}
	if s.propose != nil {
		return s.proposeRequest(ctx, r)
	}
	select {
	case s.queue <- r:
	case <-ctx.Done():
		return fail(ctx.Err())
	case <-s.quit:
		return fail(events.ErrClosed)
	}
	select {
	case a := <-r.answer:
		return a
	case <-ctx.Done():
		return fail(ctx.Err())
	case <-s.stopped:
	}
	select { // the committer may have answered just before it stopped
	case a := <-r.answer:
		return a
	default:
	}
	if s.isolated.Load() { // the committer ended in the middle of a write
		return fail(events.ErrUnknownOutcome)
	}
	return fail(events.ErrClosed)
}
