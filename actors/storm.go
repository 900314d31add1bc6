package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
	"github.com/google/uuid"
)

// StormListener is told of storms: many agents that fail for one message. It is
// called by one goroutine, once for each storm that this node is the first to record,
// and may take its time.
type StormListener interface {
	Storm(ctx context.Context, storm events.AgentStormDetected)
}

// watchStorms records what the projection finds until ctx ends. A storm that the log
// has already, because the projection was rebuilt, is not told again.
func (s *System) watchStorms(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.deps.Storms.Changed():
			for _, found := range s.deps.Storms.Take() {
				s.storm(ctx, found)
			}
			for _, found := range s.deps.Storms.TakeSpread() {
				s.spreads(ctx, found)
			}
			if ctx.Err() == nil {
				s.deps.Storms.Recorded()
			}
		}
	}
}

// storm opens the breakers of a storm's agents and records it, in this order: one that
// is cut off in between is found again by the next start, and one that is recorded has
// nothing left to do.
func (s *System) storm(ctx context.Context, found projections.Storm) {
	id := events.EventID(uuid.NewSHA1(uuid.UUID(found.Cause), []byte("storm")))
	first, err := s.openFor(ctx, id, found)
	if first && err == nil {
		first, err = s.recordStorm(ctx, id, found)
	}
	if ctx.Err() != nil {
		return // the next start finds it again
	}
	e := found.Event
	if err != nil {
		s.log.Error("storm not recorded", slog.String("message", e.Ancestor.String()), slog.Any("err", err))
	}
	if !first {
		return
	}
	s.deps.Observer.Stormed()
	s.log.Warn("many agents fail for one message", slog.String("message", e.Ancestor.String()),
		slog.String("conversation", e.Conversation()), slog.Int("agents", e.Count), slog.Int("failures", e.Failures))
	if s.deps.StormListener != nil {
		s.deps.StormListener.Storm(ctx, e)
	}
}

// spreads opens the breaker of an agent that fails in a storm which was found before. One
// that has moved since the failure stands as it does: it was opened then, and may have been reset.
func (s *System) spreads(ctx context.Context, found projections.Storm) {
	stream := events.BreakerStream(events.AgentScope(found.Event.Agents[0]))
	opts := events.ReadStreamOptions{From: events.EndOfStream, Direction: events.Backwards, Max: 1}
	for rec, err := range s.deps.Store.ReadStream(ctx, stream, opts) {
		if errors.Is(err, events.ErrStreamNotFound) {
			break
		}
		if err != nil && ctx.Err() == nil {
			s.log.Error("breaker unreadable", slog.String("stream", string(stream)), slog.Any("err", err))
		}
		if err != nil || rec.Position > found.Position {
			return
		}
	}
	s.openBreakers(ctx, found)
}

// openFor has the breakers of a storm opened, and reports whether it did: not for one
// that is in the log, whose breakers may have been reset since. Where the log does not
// say, because it does not read, they are opened: an operator resets what is too much. It
// returns when their events are durable, or ctx ends.
func (s *System) openFor(ctx context.Context, id events.EventID, found projections.Storm) (bool, error) {
	known, err := s.isRecorded(ctx, id, found.Position)
	if known || ctx.Err() != nil {
		return false, err
	}
	s.openBreakers(ctx, found)
	return true, errors.Join(err, ctx.Err())
}

func (s *System) openBreakers(ctx context.Context, found projections.Storm) {
	done := make(chan struct{})
	s.tellBreakers(breakerStorm{found.Event, done})
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// isRecorded looks for a storm in the log, among those recorded since its cause.
func (s *System) isRecorded(ctx context.Context, id events.EventID, cause events.Position) (bool, error) {
	opts := events.ReadStreamOptions{From: events.EndOfStream, Direction: events.Backwards}
	for rec, err := range s.deps.Store.ReadStream(ctx, events.StormStream(), opts) {
		switch {
		case errors.Is(err, events.ErrStreamNotFound):
			return false, nil
		case err != nil:
			return false, fmt.Errorf("read storms: %w", err)
		case rec.ID == id:
			return true, nil
		case rec.Position < cause:
			return false, nil
		}
	}
	return false, nil
}

// recordStorm reports whether this node is the first to record a storm. It is when
// nothing could be recorded, too.
func (s *System) recordStorm(ctx context.Context, id events.EventID, found projections.Storm) (bool, error) {
	e := found.Event
	ev, err := events.Encode(id, e, events.Metadata{
		CorrelationID: e.Conversation(), CausationID: found.Cause.String(), Ancestor: e.Ancestor, Member: s.deps.Member,
	})
	if err != nil {
		return false, err
	}
	res, err := s.append(ctx, events.StormStream(), events.Any(), ev)
	if errors.Is(err, events.ErrIDReused) || err == nil && res.Duplicate {
		return false, nil
	}
	return true, err
}
