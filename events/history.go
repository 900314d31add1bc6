package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"
)

// ErrHistoryRemoved is a read of events that events.retention has removed.
var ErrHistoryRemoved = errors.New("history was removed by events.retention")

// HistoryRemovedError says from where on an agent's history is kept. It is
// ErrHistoryRemoved.
type HistoryRemovedError struct {
	Agent  AgentID
	Before Revision  // first revision that is kept
	At     time.Time // when the rest was removed; zero when whoever hid it did not say
	Cause  error     // why the removed part was asked for, if there is more to say; or nil
}

// Error implements error.
func (e *HistoryRemovedError) Error() string {
	when := "at a time not recorded"
	if !e.At.IsZero() {
		when = "on " + e.At.UTC().Format(time.RFC3339)
	}
	text := fmt.Sprintf("agent %s: history before revision %d was removed by events.retention %s", e.Agent, uint64(e.Before), when)
	if e.Cause != nil {
		text += ", and is needed because: " + e.Cause.Error()
	}
	return text
}

// Is makes errors.Is(err, ErrHistoryRemoved) true.
func (e *HistoryRemovedError) Is(target error) bool { return target == ErrHistoryRemoved }

// Unwrap returns Cause.
func (e *HistoryRemovedError) Unwrap() error { return e.Cause }

// HistoryReader is what of a Store an agent's history is read with.
type HistoryReader interface {
	ReadStream(ctx context.Context, stream Stream, opts ReadStreamOptions) iter.Seq2[Recorded, error]
	StreamMetadata(ctx context.Context, stream Stream) (md StreamMetadata, at Revision, ok bool, err error)
}

// trimKey is the key of caxton's own in the metadata of an agent's stream.
const trimKey = "caxtonHistory"

// Trim is what has been removed of an agent's history.
type Trim struct {
	Before Revision  // first revision that is kept, > 0
	Event  Revision  // of the newest HistoryTrimmed; ≥ Before
	At     time.Time // when it was removed
}

// trimRecord is a Trim in stream metadata, whose $tb is Before.
type trimRecord struct {
	Event Revision  `json:"event"`
	At    time.Time `json:"removed_at"`
}

// In returns md with what it hides and who did that: an agent's stream is read from
// Before on.
func (t Trim) In(md StreamMetadata) StreamMetadata {
	b, err := json.Marshal(trimRecord{t.Event, t.At.UTC().Truncate(time.Microsecond)})
	if err != nil { // a number and a time of this millennium: cannot fail
		panic(err)
	}
	custom := make(map[string]json.RawMessage, len(md.Custom)+1)
	for k, v := range md.Custom {
		custom[k] = v
	}
	custom[trimKey] = b
	md.TruncateBefore, md.Custom = t.Before, custom
	return md
}

// Trimmed returns what has been removed of an agent's history; ok is false while it
// is whole. Errors: *CorruptError, those of StreamMetadata.
func Trimmed(ctx context.Context, s HistoryReader, id AgentID) (t Trim, ok bool, err error) {
	md, _, ok, err := s.StreamMetadata(ctx, AgentStream(id))
	if err != nil || !ok || md.TruncateBefore == 0 {
		return Trim{}, false, err
	}
	t.Before = md.TruncateBefore
	raw, ours := md.Custom[trimKey]
	if !ours {
		return t, true, nil // hidden by somebody else
	}
	var rec trimRecord
	if err := json.Unmarshal(raw, &rec); err != nil {
		return t, true, &CorruptError{Where: "metadata of " + string(AgentStream(id)), Reason: trimKey + ": " + err.Error()}
	}
	t.Event, t.At = rec.Event, rec.At
	return t, true, nil
}

// Removed is the error of a read of an agent's history from a revision on: a
// *HistoryRemovedError when that is gone, nil when it is not.
func Removed(ctx context.Context, s HistoryReader, id AgentID, from Revision) error {
	t, ok, err := Trimmed(ctx, s, id)
	if err != nil || !ok || from >= t.Before {
		return err
	}
	return &HistoryRemovedError{Agent: id, Before: t.Before, At: t.At}
}

// EventAt reads the event of an agent at one revision. A read of the stream would pass
// over what is hidden and yield a later event. Errors: *HistoryRemovedError,
// *CorruptError when there is no such event, those of the store.
func EventAt(ctx context.Context, s HistoryReader, id AgentID, rev Revision) (Recorded, error) {
	for rec, err := range s.ReadStream(ctx, AgentStream(id), ReadStreamOptions{From: rev, Max: 1}) {
		if err != nil {
			return Recorded{}, err
		}
		if rec.Revision == rev {
			return rec, nil
		}
	}
	if err := Removed(ctx, s, id, rev); err != nil {
		return Recorded{}, err
	}
	return Recorded{}, &CorruptError{Where: fmt.Sprintf("%s, revision %d", AgentStream(id), uint64(rev)), Reason: "is not there"}
}

// PayloadAt is EventAt with what the event says. Errors: those of EventAt and Decode.
func PayloadAt(ctx context.Context, s HistoryReader, id AgentID, rev Revision) (Recorded, Payload, error) {
	rec, err := EventAt(ctx, s, id, rev)
	if err != nil {
		return Recorded{}, nil, err
	}
	p, err := Decode(rec.Event)
	return rec, p, err
}
