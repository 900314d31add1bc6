package actors_test

import (
	"context"
	"fmt"
	"hash/fnv"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/caxton-run/caxton/events"
)

// failpoint is a place in the work of a node at which the power may be cut.
type failpoint string

// The failpoints. What goes out after an append (an answer, a send, a timer) is
// before the next append of whoever gets it, so cuts before and after appends are
// also cuts before and after every effect.
const (
	cutNow       failpoint = "now"
	cutBefore    failpoint = "before append"
	cutAfter     failpoint = "after append"
	cutSnapshot  failpoint = "within snapshot"
	cutWake      failpoint = "within wake"
	cutInbox     failpoint = "after spill"
	cutLifecycle failpoint = "after control"          // of breakers, emergency stops
	cutRun       failpoint = "before a turn's append" // its guests have run

	// Faults of one append, and no cuts.
	unknownWritten failpoint = "outcome unknown, written"
	unknownLost    failpoint = "outcome unknown, not written"
	anotherWriter  failpoint = "lost against another writer"
)

// slowStore is a node's log as a simulation has it: each call takes the simulated
// time that the seed says, so that the seed, and not the machine, says who comes
// first; and at an armed failpoint the power is cut. Afterwards every call is
// events.ErrClosed: nothing that the node does any more can be seen.
type slowStore struct {
	events.Store
	seed uint64
	slow time.Duration   // the longest that a call takes
	cut  func(failpoint) // cuts the power, once; called without mu

	mu    sync.Mutex                  // guards below
	dead  bool                        // the power is cut
	calls map[events.Stream]int       // for the delays
	armed failpoint                   // empty: none
	left  int                         // hits of it until the cut
	fault failpoint                   // of an append; empty: none
	until int                         // appends until it
	doubt map[events.EventID]struct{} // events of appends whose outcome was not told
}

// passes returns when so much of the bubble's time is over: at once, when everything in
// it waits.
func passes(d time.Duration) { <-time.After(d) }

func newSlowStore(log events.Store, seed uint64, slow time.Duration) *slowStore {
	return &slowStore{Store: log, seed: seed, slow: slow, calls: make(map[events.Stream]int), doubt: make(map[events.EventID]struct{})}
}

// arm has the n-th hit of a failpoint from now on cut the power, or fail; n from 1.
func (s *slowStore) arm(at failpoint, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch at {
	case unknownWritten, unknownLost, anotherWriter:
		s.fault, s.until = at, n
	default:
		s.armed, s.left = at, n
	}
}

func (s *slowStore) disarm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed, s.fault = "", ""
}

// fails returns the fault of an append to a stream; empty: none. Only what agents'
// actors and the gateway append through System.append may have one: the rest is not
// repeated.
func (s *slowStore) fails(to events.Stream, first events.EventID) failpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := to.Category()
	if _, again := s.doubt[first]; again && s.fault == anotherWriter {
		return "" // it may stand there, which a log tells
	}
	if s.fault == "" || c != events.CategoryAgent && (c != events.CategoryInbox || s.fault == anotherWriter) {
		return ""
	}
	if s.until--; s.until > 0 {
		return ""
	}
	f := s.fault
	s.fault, s.doubt[first] = "", struct{}{}
	return f
}

// hit reports whether the call may go on; it may not once the power is cut.
func (s *slowStore) hit(at ...failpoint) error {
	s.mu.Lock()
	var now failpoint
	for _, p := range at {
		if p == s.armed && !s.dead {
			if s.left--; s.left == 0 {
				now = p
			}
		}
	}
	s.mu.Unlock()
	if now != "" {
		s.cut(now)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return fmt.Errorf("the power is cut: %w", events.ErrClosed)
	}
	return nil
}

// pause lets the time pass that a call on a stream takes. Which it is follows from
// how many there were on that stream, so it is the same in each run of a seed.
func (s *slowStore) pause(on events.Stream) {
	s.mu.Lock()
	s.calls[on]++
	n := s.calls[on]
	s.mu.Unlock()
	if s.slow == 0 {
		return
	}
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, on)
	rng := rand.New(rand.NewPCG(s.seed, h.Sum64()+uint64(n)))
	if rng.IntN(4) > 0 {
		passes(time.Duration(1 + rng.Int64N(int64(s.slow))))
	}
}

// pointsAfter are the failpoints that an append to a stream reaches once it is durable.
func pointsAfter(to events.Stream) []failpoint {
	switch to.Category() {
	case events.CategorySnapshot:
		return []failpoint{cutAfter, cutSnapshot}
	case events.CategoryInbox:
		return []failpoint{cutAfter, cutInbox}
	case events.CategoryAgent:
		return []failpoint{cutAfter}
	}
	return []failpoint{cutAfter, cutLifecycle}
}

// Append implements events.Store.
func (s *slowStore) Append(ctx context.Context, to events.Stream, at events.ExpectedRevision, evs ...events.Event) (events.Result, error) {
	s.pause(to)
	before := []failpoint{cutBefore}
	if to.Category() == events.CategoryAgent {
		before = append(before, cutRun)
	}
	if err := s.hit(before...); err != nil {
		return events.Result{}, err
	}
	f := s.fails(to, evs[0].ID)
	switch f {
	case unknownLost:
		return events.Result{}, events.ErrUnknownOutcome
	case anotherWriter:
		return events.Result{}, &events.WrongRevisionError{Stream: to, Expected: at}
	}
	res, err := s.Store.Append(ctx, to, at, evs...)
	if err != nil {
		return res, err
	}
	if f == unknownWritten {
		return events.Result{}, events.ErrUnknownOutcome
	}
	if err := s.hit(pointsAfter(to)...); err != nil {
		return events.Result{}, err
	}
	s.pause(to)
	return res, s.hit()
}

// ReadStream implements events.Store.
func (s *slowStore) ReadStream(ctx context.Context, of events.Stream, o events.ReadStreamOptions) iter.Seq2[events.Recorded, error] {
	s.pause(of)
	if err := s.hit(cutWake); err != nil {
		return func(yield func(events.Recorded, error) bool) { yield(events.Recorded{}, err) }
	}
	return s.Store.ReadStream(ctx, of, o)
}

// Sync implements events.Store.
func (s *slowStore) Sync(ctx context.Context) error {
	if err := s.hit(); err != nil {
		return err
	}
	return s.Store.Sync(ctx)
}

// SubscribeAll implements events.Store: who follows the log is behind it by as much
// as a call takes.
func (s *slowStore) SubscribeAll(ctx context.Context, from events.Position, f events.Filter) (events.Subscription, error) {
	sub, err := s.Store.SubscribeAll(ctx, from, f)
	return &slowSubscription{Subscription: sub, store: s}, err
}

type slowSubscription struct {
	events.Subscription
	store *slowStore
}

// Next implements events.Subscription.
func (s *slowSubscription) Next(ctx context.Context) (events.Recorded, error) {
	rec, err := s.Subscription.Next(ctx)
	if err == nil {
		s.store.pause("subscription")
		err = s.store.hit()
	}
	return rec, err
}

// die has every call fail from now on.
func (s *slowStore) die() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = true
}
