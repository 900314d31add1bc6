package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/caxton-run/caxton/events"
)

// Bounds of an emergency stop.
const (
	MaxReason   = 256              // bytes of a reason: it is shown in one line
	spillWithin = 30 * time.Second // for what waits in mailboxes to be put into inboxes
)

// emergency is the state of emergency stops, beside the licence that they revoke.
type emergency struct {
	one      oneAtATime // stop or lift is recorded; guards below
	recorded bool       // the stop in force is in the log

	dumping oneAtATime // dump: two would read everything twice at once
}

// errLifted ends what goes on for a stop that is over.
var errLifted = fmt.Errorf("%w: it was lifted meanwhile", events.ErrConflict)

// StopAllRequest asks for an emergency stop.
type StopAllRequest struct {
	Caller
	Reason  string
	Cluster bool   // recorded: the nodes are to be shut down too
	DumpTo  string // directory for a dump of all agents' state; empty: none
}

// StoppedAll is what an emergency stop did.
type StoppedAll struct {
	Since      time.Time // when the stop that is in force began
	Agents     int       // deployed on this node
	Guests     int       // that ran and were stopped; their messages wait
	GuestsIn   time.Duration
	Spilled    int           // messages in mailboxes that were put into inboxes
	Left       int           // messages that are in mailboxes still: of agents that could not be loaded in time
	Elapsed    time.Duration // until nothing was left in mailboxes
	Dump       Dump          // zero without one
	DumpFailed error         // why there is no dump; the agents are stopped all the same
	Unrecorded error         // why the stop is not in the log: it ends with this process
}

// StopAll is an emergency stop: when it returns, no guest runs, none begins until
// LiftStop, over restarts too, and what waited in mailboxes stands in inboxes. It
// stops first and records it then; that it could not be recorded, or dumped, is no error.
// A stop while one is in force finds nothing to do, but records it if that had failed,
// and dumps.
//
// A lift does not wait for it, but ends it.
//
// Errors: *events.InvalidError for the reason, before anything is done;
// events.ErrConflict when it was lifted meanwhile; ctx's, when guests run still.
func (g *Gateway) StopAll(ctx context.Context, r StopAllRequest) (StoppedAll, error) {
	if len(r.Reason) > MaxReason {
		return StoppedAll{}, events.Invalidf("reason", "must be at most %d bytes, got %d", MaxReason, len(r.Reason))
	}
	s := g.sys
	began, before := time.Now(), s.spilled.Load()
	l := s.licence.Load()
	guests := l.revoke(s.deps.Now()) // before any lock: a stop waits for nobody
	out := StoppedAll{Since: l.since(), Agents: s.deps.Agents.Len(), Guests: int(guests)}
	if out.Unrecorded = s.recordStop(ctx, l, r); errors.Is(out.Unrecorded, errLifted) {
		return out, fmt.Errorf("emergency stop: %w", errLifted)
	}
	if err := l.still(ctx); s.licence.Load() != l {
		return out, fmt.Errorf("emergency stop: %w", errLifted) // whatever else: no stop is in force
	} else if err != nil {
		return out, fmt.Errorf("emergency stop: guests run still: %w", err)
	}
	out.GuestsIn = time.Since(began)
	out.Left = s.spillAll(ctx, l)
	if s.licence.Load() != l {
		return out, fmt.Errorf("emergency stop: %w", errLifted)
	}
	out.Spilled, out.Elapsed = int(s.spilled.Load()-before), time.Since(began)
	s.log.Warn("emergency stop: no agent runs until it is lifted", slog.String("reason", r.Reason),
		slog.Int64("guests", guests), slog.Int("spilled", out.Spilled), slog.Duration("elapsed", out.Elapsed))
	if r.DumpTo != "" {
		out.Dump, out.DumpFailed = s.dump(ctx, l, r.DumpTo)
	}
	return out, nil
}

// recordStop makes the stop that revoked l outlive the process, unless it does.
// Error: errLifted, when there is nothing to record any more; those of the store.
func (s *System) recordStop(ctx context.Context, l *licence, r StopAllRequest) error {
	if err := s.emergency.one.begin(ctx); err != nil {
		return fmt.Errorf("record the stop: another stop or lift is being recorded: %w", err)
	}
	defer s.emergency.one.end()
	if s.licence.Load() != l {
		return errLifted
	}
	if s.emergency.recorded {
		return nil
	}
	_, err := s.recordControl(ctx, events.EmergencyStream(), events.EmergencyStopped{Reason: r.Reason, Cluster: r.Cluster}, r.Caller)
	s.emergency.recorded = err == nil
	if err != nil {
		s.log.Error("emergency stop not recorded: a restart ends it", slog.Any("err", err))
	}
	return err
}

// recordControl appends an event that no agent's actor writes, whatever the stream's
// revision, and repeats it until its outcome is known.
func (s *System) recordControl(ctx context.Context, stream events.Stream, p events.Payload, c Caller) (events.Result, error) {
	ev, err := events.Encode(events.NewEventID(), p, events.Metadata{Actor: c.Principal, Member: s.deps.Member, TraceParent: c.TraceParent})
	if err != nil {
		return events.Result{}, err
	}
	res, err := s.append(ctx, stream, events.Any(), ev)
	if err != nil {
		return res, fmt.Errorf("record %s: %w", p.EventType(), err)
	}
	return res, nil
}

// spillAll waits until mailboxes are empty: turns put what they find into inboxes
// while guests may not run. It returns how much is left after spillWithin, or when the
// stop that revoked l was lifted.
func (s *System) spillAll(ctx context.Context, l *licence) int {
	late := time.NewTimer(spillWithin)
	defer late.Stop()
	poll := time.NewTicker(queuePoll)
	defer poll.Stop()
	for s.licence.Load() == l {
		for _, b := range s.registry.boxes() {
			b.Hold(false) // a pause after a crash keeps messages back
		}
		if s.QueueDepth() == 0 {
			return 0
		}
		select {
		case <-poll.C:
			continue
		case <-late.C:
		case <-ctx.Done():
		}
		break
	}
	return s.QueueDepth()
}

// LiftStop ends an emergency stop: agents go on as they were, with what their inboxes
// hold first. It reports whether one was in force. Errors: those of the store; the
// stop is then in force still.
func (g *Gateway) LiftStop(ctx context.Context, c Caller) (bool, error) {
	s := g.sys
	if lifted, err := s.lift(ctx, c); !lifted || err != nil {
		return false, err
	}
	// What turns put into inboxes until now must be known to be waiting.
	err := s.caughtUp(ctx)
	s.dispatcher.resume()
	return true, err
}

func (s *System) lift(ctx context.Context, c Caller) (bool, error) {
	if err := s.emergency.one.begin(ctx); err != nil {
		return false, fmt.Errorf("lift the stop: another stop or lift is being recorded: %w", err)
	}
	defer s.emergency.one.end()
	if !s.halted() {
		return false, nil
	}
	if _, err := s.recordControl(ctx, events.EmergencyStream(), events.EmergencyLifted{}, c); err != nil {
		if errors.Is(err, events.ErrUnknownOutcome) {
			s.emergency.recorded = false // the log may say that it is lifted: the next stop says again that it is not
		}
		return false, err
	}
	s.emergency.recorded = false
	s.licence.Load().cancel() // whoever revoked it may not have come to it, and mailboxes would go on under it
	s.licence.Store(newLicence(s.life))
	s.log.Info("emergency stop lifted: agents run again")
	return true, nil
}

// restoreStop finds out whether an emergency stop is in force.
func (s *System) restoreStop(ctx context.Context) error {
	opts := events.ReadStreamOptions{From: events.EndOfStream, Direction: events.Backwards, Max: 1}
	for rec, err := range s.deps.Store.ReadStream(ctx, events.EmergencyStream(), opts) {
		if errors.Is(err, events.ErrStreamNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("actors: read emergency stops: %w", err)
		}
		p, err := events.Decode(rec.Event)
		if err != nil {
			return fmt.Errorf("actors: read emergency stops: %w", err)
		}
		if _, ok := p.(events.EmergencyStopped); ok {
			s.licence.Load().revoke(rec.RecordedAt)
			s.emergency.recorded = true
			s.log.Warn("an emergency stop is in force: no agent runs until it is lifted", slog.Time("since", rec.RecordedAt))
		}
	}
	return nil
}
