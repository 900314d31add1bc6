package actors

import (
	"context"
	"errors"
	"log/slog"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
	"github.com/google/uuid"
)

// StormListener is told of storms: many agents that fail in one conversation. It is
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
			if ctx.Err() == nil {
				s.deps.Storms.Recorded()
			}
		}
	}
}

func (s *System) storm(ctx context.Context, found projections.Storm) {
	e := found.Event
	id := events.EventID(uuid.NewSHA1(uuid.UUID(found.Cause), []byte("storm")))
	ev, err := events.Encode(id, e, events.Metadata{CorrelationID: e.ConversationID, CausationID: found.Cause.String(), Member: s.deps.Member})
	if err != nil {
		s.log.Error("storm not recorded", slog.String("conversation", e.ConversationID), slog.Any("err", err))
		return
	}
	res, err := s.append(ctx, events.StormStream(), events.Any(), ev)
	switch {
	case errors.Is(err, events.ErrIDReused), err == nil && res.Duplicate:
		return // recorded before
	case err != nil && ctx.Err() == nil:
		s.log.Error("storm not recorded", slog.String("conversation", e.ConversationID), slog.Any("err", err))
	}
	if ctx.Err() != nil {
		return // the next start finds it again
	}
	s.deps.Observer.Stormed()
	s.log.Warn("many agents fail in one conversation", slog.String("conversation", e.ConversationID),
		slog.Int("agents", e.Count), slog.Int("failures", e.Failures))
	s.tellBreakers(breakerStorm{e.Agents, e.Failures})
	if s.deps.StormListener != nil {
		s.deps.StormListener.Storm(ctx, e)
	}
}
