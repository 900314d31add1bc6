package events

import (
	"encoding/json"
	"time"
)

// Type names what happened: PascalCase, past tense.
type Type string

// ContentType says how an event's data reads.
type ContentType string

// The two content types of the log.
const (
	JSON   ContentType = "application/json"
	Binary ContentType = "application/octet-stream"
)

// MaxAppendBytes bounds the data and metadata of one append, and so of one
// event: EventStoreDB's default ceiling. Larger things are stored in chunks.
const MaxAppendBytes = 1 << 20

// MaxAppendEvents bounds the events of one append: what a full turn of an agent
// can emit, with room.
const MaxAppendEvents = 4096

// Event is something that happened, not yet in the log. Data and Metadata are
// not to be changed after Append was called.
type Event struct {
	ID          EventID
	Type        Type
	ContentType ContentType
	Data        []byte
	Metadata    []byte // a JSON object or empty
}

// Size is what the event counts against MaxAppendBytes.
func (e Event) Size() int { return len(e.Data) + len(e.Metadata) + len(e.Type) }

// Recorded is an event in the log. It is immutable; its byte slices belong to
// the reader that got it.
type Recorded struct {
	Event
	Stream     Stream
	Revision   Revision
	Position   Position
	RecordedAt time.Time // UTC, microseconds; chosen by the proposer
}

// Result says where an append landed.
type Result struct {
	First     Revision // of the first event appended
	Last      Revision // of the last: the next Exact expectation
	Position  Position // of the last event
	Duplicate bool     // these very events were there before
}

// Metadata is what caxton writes beside an event's data. The $-names are
// EventStoreDB's own, so its tools follow correlations.
type Metadata struct {
	CorrelationID string   `json:"$correlationId,omitempty"` // the conversation
	CausationID   string   `json:"$causationId,omitempty"`   // event that sent the message or set the timer; of a message from outside its id
	SchemaVersion int      `json:"schemaVersion"`
	Actor         string   `json:"actor,omitempty"` // who asked: a principal or an agent's id
	Member        MemberID `json:"member,omitempty"`
	TraceParent   string   `json:"traceparent,omitempty"` // W3C Trace Context

	// What it began with: see Cause. Both are absent where that is the event's own message.
	Ancestor   MessageID `json:"ancestor,omitzero"`   // message with which the chain of causes began
	AncestorAt time.Time `json:"ancestorAt,omitzero"` // since when it counts as that, UTC
}

// Encode returns the metadata as JSON.
func (m Metadata) Encode() []byte {
	b, err := json.Marshal(m)
	if err != nil { // strings and an int: cannot fail
		panic(err)
	}
	return b
}

// DecodeMetadata reads an event's metadata; empty bytes are the zero value.
// Errors are *CorruptError.
func DecodeMetadata(b []byte) (Metadata, error) {
	var m Metadata
	if len(b) == 0 {
		return m, nil
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return Metadata{}, &CorruptError{Where: "event metadata", Reason: err.Error()}
	}
	return m, nil
}
