package agent

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/caxton-run/caxton/events"
)

// stateForm is the first byte of a state as it is written now:
//
//	2 | length of the JSON (uvarint) | JSON of encoded | bulk (bulk.go)
//
// Until snapshots of version 2 a state was JSON alone, values and keys in it; such
// a one begins with a brace, and is read.
const stateForm byte = 2

// encoded is a State as a snapshot keeps it. encoding/json writes maps in the
// order of their keys, so equal states have equal bytes.
type encoded struct {
	ID       events.AgentID        `json:"id"`
	Status   Status                `json:"status"`
	Name     string                `json:"name"`
	Module   events.ModuleHash     `json:"module"`
	Limits   events.ResourceLimits `json:"limits"`
	Priority events.Priority       `json:"priority"`
	Revision events.Revision       `json:"revision"`
	Clock    int64                 `json:"clock"`
	Handled  uint64                `json:"handled"`
	Values   []value               `json:"values,omitempty"` // read only: see stateForm
	Sent     map[channel]uint64    `json:"sent,omitempty"`
	Seen     map[channel]uint64    `json:"seen,omitempty"`
	Keys     []usedKey             `json:"keys,omitempty"` // read only; oldest first
	Next     events.Revision       `json:"inbox_next"`
	Ahead    []events.Revision     `json:"inbox_ahead,omitempty"`
	Message  events.MessageID      `json:"crash_message"`
	Attempts int                   `json:"crash_attempts"`
	Recent   []int64               `json:"crashes,omitempty"`
	StopBy   int64                 `json:"stop_by,omitempty"`
	Stopping string                `json:"stop_reason,omitempty"`
	Timer    events.TimerID        `json:"timer_last,omitempty"`
	Timers   []encodedTimer        `json:"timers,omitempty"`
	Skills   []string              `json:"capabilities,omitempty"`
}

// value keeps its key as bytes: what a state holds comes back as it was even if
// a key is not UTF-8, which a JSON string has to be.
type value struct {
	Key   []byte `json:"k"`
	Value []byte `json:"v"`
}

type usedKey struct {
	Key []byte `json:"k"`
	Use KeyUse `json:"u"`
}

// MarshalBinary implements encoding.BinaryMarshaler. Equal states give equal
// bytes.
func (s *State) MarshalBinary() ([]byte, error) {
	e := encoded{
		ID: s.ID, Status: s.Status, Name: s.Name, Module: s.Module, Limits: s.Limits,
		Priority: s.Priority, Revision: s.Revision, Clock: s.Clock, Handled: s.Handled,
		Sent: s.sent, Seen: s.seen, Next: s.inbox.next,
		Ahead:   slices.Sorted(maps.Keys(s.inbox.ahead)),
		Message: s.crash.message, Attempts: s.crash.attempts, Recent: s.crash.recent,
		StopBy: s.StopBy, Stopping: s.stopReason,
		Timer: s.timers.last, Timers: s.timers.encode(),
		Skills: slices.Sorted(maps.Keys(s.skills)),
	}
	head, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	return s.appendBulk(appendText([]byte{stateForm}, head)), nil
}

// UnmarshalBinary implements encoding.BinaryUnmarshaler. What MarshalBinary did
// not write is a *events.CorruptError and leaves s as it was.
func (s *State) UnmarshalBinary(b []byte) error {
	bad := func(reason string) error { return &events.CorruptError{Where: "agent state", Reason: reason} }
	var bulk []byte
	switch {
	case len(b) > 0 && b[0] == stateForm:
		r := reader{b: b[1:]}
		b = r.text()
		if bulk = r.b; r.bad {
			return bad("it ends early")
		}
	case len(b) == 0 || b[0] != '{':
		return bad("it is of no known form")
	}
	var e encoded
	if err := json.Unmarshal(b, &e); err != nil {
		return bad(err.Error())
	}
	if !e.Status.known() {
		return bad(fmt.Sprintf("unknown status %.20q", string(e.Status)))
	}
	st := e.state()
	if bulk == nil {
		if !e.readBulk(&st) {
			return bad("an Idempotency-Key stands in it twice")
		}
	} else if !st.readBulk(bulk) {
		return bad("values or Idempotency-Keys do not read")
	}
	*s = st
	return nil
}

// readBulk takes values and keys from the JSON of an old state; false if a key
// stands in it twice.
func (e *encoded) readBulk(s *State) bool {
	for _, v := range e.Values {
		s.values.change(events.StateChange{Key: string(v.Key), Value: v.Value})
	}
	for _, k := range e.Keys {
		if !s.keys.restore(string(k.Key), k.Use, len(e.Keys)) {
			return false
		}
	}
	return true
}

// state is what the JSON says of a state, but for values and keys.
func (e *encoded) state() State {
	s := State{
		ID: e.ID, Status: e.Status, Name: e.Name, Module: e.Module, Limits: e.Limits,
		Priority: e.Priority, Revision: e.Revision, Clock: e.Clock, Handled: e.Handled,
		sent: e.Sent, seen: e.Seen,
		crash:  crashes{message: e.Message, attempts: e.Attempts, recent: e.Recent},
		StopBy: e.StopBy, stopReason: e.Stopping,
	}
	s.inbox.next = e.Next
	for _, t := range e.Timers {
		s.timers.set(t.ID, t.Revision)
	}
	s.timers.last = e.Timer
	for _, name := range e.Skills {
		s.learn(name)
	}
	for _, r := range e.Ahead {
		s.inbox.finish(&r)
	}
	return s
}
