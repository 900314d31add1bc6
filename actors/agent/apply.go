package agent

import (
	"time"

	"github.com/caxton-run/caxton/events"
)

// Apply folds one event into the state and makes rev its revision. It must be
// given the events of the agent's stream in order, from 0. An event that cannot
// follow is a *StateError; the state is then unchanged.
func (s *State) Apply(rev events.Revision, p events.Payload) error {
	if err := s.follows(rev, p); err != nil {
		return err
	}
	switch e := p.(type) {
	case events.AgentDeployed:
		s.deployed(e)
	case events.AgentSuspended:
		s.goTo(Suspended)
	case events.AgentStopRequested:
		s.draining(e)
	case events.AgentStopped:
		s.goTo(Stopped)
	case events.AgentResumed:
		s.goTo(Running)
		s.crash = crashes{}
	case events.AgentRestarted:
		s.restarted(rev, e)
	case events.AgentUpdated:
		s.updated(e)
	case events.AgentFailed:
		s.goTo(Failed)
	case events.AgentRemoved:
		s.goTo(Removed)
		s.timers.pending, s.skills = nil, nil
	case events.MessageHandled:
		s.handled(rev, e)
	case events.MessageFailed:
		s.finished(rev, &e.Message, ending{e.Inbox, e.IdempotencyKey, e.BodyHash, e.Host.NowMicros})
		s.sends(e.Sends)
	case events.AgentQuarantined:
		s.finished(rev, &e.Message, ending{e.Inbox, e.IdempotencyKey, e.BodyHash, s.Clock})
		s.sends(e.Sends)
	case events.AgentCrashed:
		s.Clock = max(s.Clock, e.At.UnixMicro()) // so that recent crashes stand in order, whatever the wall clock does
		s.crash.add(e.MessageID, e.Attempt, e.At)
	case events.InboxSkipped:
		s.inbox.finish(&e.Inbox)
	case events.TimerSet:
		s.timers.set(e.Timer, rev)
	case events.TimerFired:
		delete(s.timers.pending, e.Timer)
	case events.TimerCancelled:
		delete(s.timers.pending, e.Timer)
	case events.CapabilityRegistered:
		s.learn(e.Capability)
	case events.MessageDeadLettered:
		s.inbox.finish(e.Inbox) // a sequence that it used stays used
		s.useKey(e.IdempotencyKey, KeyUse{MessageID: e.Message.ID, BodyHash: e.BodyHash, Revision: rev}, e.At)
	}
	s.Revision = rev
	return nil
}

// follows checks the order of revisions and the arrows of Status.
func (s *State) follows(rev events.Revision, p events.Payload) error {
	fault := func(reason string) error {
		return &StateError{Agent: s.ID, Revision: rev, Type: p.EventType(), Reason: reason}
	}
	deployed, first := p.(events.AgentDeployed)
	switch {
	case first && s.Exists():
		return fault("agent exists already")
	case first && rev != 0:
		return fault("must be revision 0")
	case first && deployed.AgentID.IsZero():
		return fault("has no agent id")
	case first && !s.ID.IsZero() && deployed.AgentID != s.ID: // whoever reads a stream knows whose it is
		return fault("is of agent " + deployed.AgentID.String())
	case first:
		return nil
	case !s.Exists():
		return fault("agent does not exist")
	case rev != s.Revision+1:
		return fault("revision does not follow the last one applied")
	case !s.Status.admits(p):
		return fault("cannot happen to an agent that is " + string(s.Status))
	}
	return nil
}

func (s *State) deployed(e events.AgentDeployed) {
	s.ID, s.Status, s.Name = e.AgentID, Running, e.Name
	s.Module, s.Limits, s.Priority = e.Module, e.Limits, e.Priority
}

func (s *State) handled(rev events.Revision, e events.MessageHandled) {
	s.finished(rev, &e.Message, ending{e.Inbox, e.IdempotencyKey, e.BodyHash, e.Host.NowMicros})
	for _, c := range e.State {
		s.values.change(c)
	}
	s.sends(e.Sends)
}

// ending is what every event that ends a message says about how it came.
type ending struct {
	inbox     *events.Revision
	key, body string
	now       int64
}

// finished records that a message needs no more running.
func (s *State) finished(rev events.Revision, m *events.Message, end ending) {
	s.Handled++
	s.Clock = max(s.Clock, end.now)
	if from, ok := m.FromAgent(); ok && m.Sequence > s.seen[channel{from, m.Class()}] {
		if s.seen == nil {
			s.seen = make(map[channel]uint64)
		}
		s.seen[channel{from, m.Class()}] = m.Sequence
	}
	s.inbox.finish(end.inbox)
	s.keys.add(end.key, KeyUse{MessageID: m.ID, BodyHash: end.body, Revision: rev, AtMicros: s.Clock})
	if s.crash.message == m.ID {
		s.crash.message, s.crash.attempts = events.MessageID{}, 0
	}
}

// useKey notes the use of a key at a time that its event tells, if it does. Keys stand
// in the order of the clock.
func (s *State) useKey(key string, use KeyUse, at *time.Time) {
	if at == nil {
		return
	}
	s.Clock = max(s.Clock, at.UnixMicro())
	use.AtMicros = s.Clock
	s.keys.add(key, use)
}

func (s *State) sends(list []events.Message) {
	for i := range list {
		to, err := events.ParseAgentID(list[i].Receiver)
		if err != nil {
			continue // never resolved: a dead letter event follows, no sequence was used
		}
		if s.sent == nil {
			s.sent = make(map[channel]uint64)
		}
		ch := channel{to, list[i].Class()}
		s.sent[ch] = max(s.sent[ch], list[i].Sequence)
	}
}
