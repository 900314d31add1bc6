package events

import "time"

// ChainAge is how old the beginning of a chain of causes may get, in recorded time. What
// goes on beyond it belongs to a later beginning: agents that were all started by one
// message and set themselves timers for years have nothing in common any more.
const ChainAge = time.Hour

// Cause is what a message came of: the event that sent it or set the timer, and the
// message with which the chain of such causes began. It is zero for a message from
// outside, with which a chain begins.
//
// Each message has one cause, so chains branch and never join: two messages have a
// common ancestor, within ChainAge, if and only if they have the same one here.
type Cause struct {
	Event    EventID
	Ancestor MessageID
	Since    time.Time // recorded time of the event that began to count it, UTC
}

// CauseOf returns the cause of what an event sent, and of timers that it set: the event
// is one that a run of handled led to. It is a function of the event, so whoever carries
// a send again after a crash finds the same. Errors: *CorruptError.
func CauseOf(rec Recorded, handled MessageID) (Cause, error) {
	md, err := DecodeMetadata(rec.Metadata)
	if err != nil {
		return Cause{}, err
	}
	c := Cause{Event: rec.ID, Ancestor: md.Ancestor, Since: md.AncestorAt}
	if c.Ancestor.IsZero() || rec.RecordedAt.Sub(c.Since) > ChainAge {
		c.Ancestor, c.Since = handled, rec.RecordedAt
	}
	return c, nil
}

// Of returns md with the cause of the message that its event is about.
func (c Cause) Of(id MessageID, md Metadata) Metadata {
	if md.CausationID = id.String(); c.Event != (EventID{}) {
		md.CausationID, md.Ancestor, md.AncestorAt = c.Event.String(), c.Ancestor, c.Since
	}
	return md
}

// AncestorOf returns the message with which the chain of causes began that led to a
// message: itself, when it came from outside. md is of an event about it.
func (m Metadata) AncestorOf(id MessageID) MessageID {
	if m.Ancestor.IsZero() {
		return id
	}
	return m.Ancestor
}
