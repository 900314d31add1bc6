package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// ErrUnknownType is an event whose type this version does not know. A reader
// that only follows some types skips it; one that folds state must stop.
var ErrUnknownType = errors.New("unknown event type")

// Encode makes an event of a payload. The only errors are a payload that does
// not marshal, which is a bug, and ErrTooLarge.
//
// A message's content is kept as it came but for white space. The escapes that
// json.Marshal puts in place of "<", ">" and "&" would give a replayed guest other
// bytes than the live one had, and make of content within its limit an event
// beyond the log's.
func Encode(id EventID, p Payload, md Metadata) (Event, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(p); err != nil {
		return Event{}, fmt.Errorf("encode %s: %w", p.EventType(), err)
	}
	data := bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
	md.SchemaVersion = SchemaVersion(p.EventType())
	ev := Event{ID: id, Type: p.EventType(), ContentType: JSON, Data: data, Metadata: md.Encode()}
	if ev.Size() > MaxAppendBytes {
		return Event{}, fmt.Errorf("encode %s of %d bytes: %w", p.EventType(), ev.Size(), ErrTooLarge)
	}
	return ev, nil
}

// Decode reads an event's payload as a value of the struct named by its type. Data
// of an older schema version are first raised to today's, step by step; metadata
// without a version are of version 1.
//
// Errors: ErrUnknownType; *NewerSchemaError, for what a later caxton wrote;
// *CorruptError when data or metadata do not read.
func Decode(ev Event) (Payload, error) {
	s, ok := schemaOf(ev.Type)
	if !ok {
		return nil, fmt.Errorf("%w %q", ErrUnknownType, ev.Type)
	}
	version, err := versionOf(ev.Metadata)
	if err != nil {
		return nil, corruptEvent(ev, err)
	}
	if version > s.version {
		return nil, &NewerSchemaError{Event: ev.ID, Type: ev.Type, Version: version, Known: s.version}
	}
	data := ev.Data
	for ; version < s.version; version++ {
		if data, err = s.raise(version, data); err != nil {
			return nil, corruptEvent(ev, fmt.Errorf("schema version %d: %w", version, err))
		}
	}
	p, err := s.read(data)
	if err != nil {
		return nil, corruptEvent(ev, err)
	}
	return p, nil
}

func corruptEvent(ev Event, err error) error {
	return &CorruptError{Where: "event " + ev.ID.String() + " (" + string(ev.Type) + ")", Reason: err.Error()}
}

func decode[P Payload](b []byte) (Payload, error) {
	var p P
	if err := json.Unmarshal(b, &p); err != nil {
		return nil, err
	}
	return p, nil
}
