package events

import (
	"encoding/json"
	"errors"
	"fmt"
)

// ErrUnknownType is an event whose type this version does not know. A reader
// that only follows some types skips it; one that folds state must stop.
var ErrUnknownType = errors.New("unknown event type")

// SchemaVersion is the version of all payloads written today.
const SchemaVersion = 1

// Encode makes an event of a payload. The only errors are a payload that does
// not marshal, which is a bug, and ErrTooLarge.
func Encode(id EventID, p Payload, md Metadata) (Event, error) {
	data, err := json.Marshal(p)
	if err != nil {
		return Event{}, fmt.Errorf("encode %s: %w", p.EventType(), err)
	}
	md.SchemaVersion = SchemaVersion
	ev := Event{ID: id, Type: p.EventType(), ContentType: JSON, Data: data, Metadata: md.Encode()}
	if ev.Size() > MaxAppendBytes {
		return Event{}, fmt.Errorf("encode %s of %d bytes: %w", p.EventType(), ev.Size(), ErrTooLarge)
	}
	return ev, nil
}

// Decode reads an event's payload as a value of the struct named by its type.
// Errors: ErrUnknownType; *CorruptError when the data do not read.
func Decode(ev Event) (Payload, error) {
	dec, ok := decoders(ev.Type)
	if !ok {
		return nil, fmt.Errorf("%w %q", ErrUnknownType, ev.Type)
	}
	p, err := dec(ev.Data)
	if err != nil {
		return nil, &CorruptError{Where: "event " + ev.ID.String() + " (" + string(ev.Type) + ")", Reason: err.Error()}
	}
	return p, nil
}

// decoders is a switch, not a map in a variable: the set of types is part of
// the code, and nothing can register another at run time.
func decoders(t Type) (func([]byte) (Payload, error), bool) {
	switch t {
	case AgentDeployed{}.EventType():
		return decode[AgentDeployed], true
	case AgentSuspended{}.EventType():
		return decode[AgentSuspended], true
	case AgentResumed{}.EventType():
		return decode[AgentResumed], true
	case AgentRemoved{}.EventType():
		return decode[AgentRemoved], true
	case MessageHandled{}.EventType():
		return decode[MessageHandled], true
	case MessageFailed{}.EventType():
		return decode[MessageFailed], true
	case MessageDeadLettered{}.EventType():
		return decode[MessageDeadLettered], true
	case AgentCrashed{}.EventType():
		return decode[AgentCrashed], true
	case AgentQuarantined{}.EventType():
		return decode[AgentQuarantined], true
	case AgentFailed{}.EventType():
		return decode[AgentFailed], true
	case MessageReceived{}.EventType():
		return decode[MessageReceived], true
	case InboxSkipped{}.EventType():
		return decode[InboxSkipped], true
	case ModuleUploaded{}.EventType():
		return decode[ModuleUploaded], true
	}
	return nil, false
}

func decode[P Payload](b []byte) (Payload, error) {
	var p P
	if err := json.Unmarshal(b, &p); err != nil {
		return nil, err
	}
	return p, nil
}
