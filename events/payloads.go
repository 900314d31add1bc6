package events

// Payload is the content of one event type whose data are JSON. Each is a struct
// whose comment is the specification of the event, and whose fields' comments are
// that of its JSON; docs/events.md is made of them and of the golden files. The
// form of the comment is the generator's: prose, then a list of Stream, When, By,
// Agent (what Apply of the package actors/agent does with it) and Projections.
//
// A change of a payload's JSON, an added field too, is a new schema version: see
// SchemaVersion.
type Payload interface {
	EventType() Type
}

//go:generate go run ./internal/eventdoc -root ..
