package agent

import (
	"maps"
	"slices"
	"time"

	"github.com/caxton-run/caxton/events"
)

// TimerChange is one timer_set or timer_cancel of a guest, in the order of its
// calls.
type TimerChange struct {
	Timer   events.TimerID
	Cancel  bool
	After   time.Duration // from the clock of the run; within the bounds of package events
	Content []byte        // of the message that comes then
}

// timers are the pending timers of an agent: where in its stream each was set.
//
// Invariant: all keys are at most last, and at most events.MaxTimers.
type timers struct {
	last    events.TimerID // the highest number given; 0 before the first
	pending map[events.TimerID]events.Revision
}

func (t *timers) set(id events.TimerID, rev events.Revision) {
	if t.pending == nil {
		t.pending = make(map[events.TimerID]events.Revision)
	}
	t.last = max(t.last, id)
	t.pending[id] = rev
}

// encodedTimer is a pending timer as a snapshot keeps it.
type encodedTimer struct {
	ID       events.TimerID  `json:"id"`
	Revision events.Revision `json:"rev"`
}

func (t *timers) encode() []encodedTimer {
	var list []encodedTimer
	for _, id := range slices.Sorted(maps.Keys(t.pending)) {
		list = append(list, encodedTimer{id, t.pending[id]})
	}
	return list
}

// LastTimer is the highest number that a timer of the agent was given; 0 before
// the first.
func (s *State) LastTimer() events.TimerID { return s.timers.last }

// HasTimer reports whether a timer is pending.
func (s *State) HasTimer(id events.TimerID) bool {
	_, ok := s.timers.pending[id]
	return ok
}

// Timers is the number of pending timers.
func (s *State) Timers() int { return len(s.timers.pending) }

// TimerRevision is where in the agent's stream a pending timer was set.
func (s *State) TimerRevision(id events.TimerID) (rev events.Revision, ok bool) {
	rev, ok = s.timers.pending[id]
	return rev, ok
}

// changeTimers makes events of what a run did to timers.
func changeTimers(r *Run) []events.Payload {
	out := make([]events.Payload, 0, len(r.Timers))
	for _, c := range r.Timers {
		if c.Cancel {
			out = append(out, events.TimerCancelled{Timer: c.Timer, CancelledBy: r.Message.ID})
			continue
		}
		var m events.Message
		m.SetContent(c.Content)
		out = append(out, events.TimerSet{
			Timer: c.Timer, DueAt: time.UnixMicro(r.Host.NowMicros).Add(c.After).UTC(),
			Content: m.Content, ContentBase64: m.ContentBase64,
			ConversationID: r.Message.ConversationID, SetBy: r.Message.ID,
		})
	}
	return out
}

// fired ends the timer whose message a run was about, if it was a timer's.
func (s *State) fired(r *Run) []events.Payload {
	id, ok := r.Message.FromTimer()
	if !ok || !s.HasTimer(id) {
		return nil
	}
	return []events.Payload{events.TimerFired{Timer: id, MessageID: r.Message.ID}}
}
