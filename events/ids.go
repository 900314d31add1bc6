package events

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/google/uuid"
)

// AgentID names one agent for ever: a UUID, version 4, or version 5 when it was
// derived from an Idempotency-Key. The zero value names no agent.
type AgentID uuid.UUID

// NewAgentID returns a random (version 4) id.
func NewAgentID() AgentID { return AgentID(uuid.New()) }

// ParseAgentID reads the canonical 36-character form.
// Anything else is an *InvalidError for field "id".
func ParseAgentID(s string) (AgentID, error) {
	u, err := parseUUID(s)
	if err != nil {
		return AgentID{}, Invalid("id", "must be a UUID in its 36-character form")
	}
	return AgentID(u), nil
}

// String returns the canonical lower-case form.
func (id AgentID) String() string { return uuid.UUID(id).String() }

// IsZero reports whether id names no agent.
func (id AgentID) IsZero() bool { return id == AgentID{} }

// MarshalText implements encoding.TextMarshaler.
func (id AgentID) MarshalText() ([]byte, error) { return uuid.UUID(id).MarshalText() }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *AgentID) UnmarshalText(b []byte) error {
	v, err := ParseAgentID(string(b))
	if err != nil {
		return err
	}
	*id = v
	return nil
}

// MessageID names one message: a UUID.
type MessageID uuid.UUID

// NewMessageID returns a random (version 4) id.
func NewMessageID() MessageID { return MessageID(uuid.New()) }

// ParseMessageID reads the canonical 36-character form.
// Anything else is an *InvalidError for field "id".
func ParseMessageID(s string) (MessageID, error) {
	u, err := parseUUID(s)
	if err != nil {
		return MessageID{}, Invalid("id", "must be a UUID in its 36-character form")
	}
	return MessageID(u), nil
}

// String returns the canonical lower-case form.
func (id MessageID) String() string { return uuid.UUID(id).String() }

// IsZero reports whether id names no message.
func (id MessageID) IsZero() bool { return id == MessageID{} }

// MarshalText implements encoding.TextMarshaler.
func (id MessageID) MarshalText() ([]byte, error) { return uuid.UUID(id).MarshalText() }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *MessageID) UnmarshalText(b []byte) error {
	v, err := ParseMessageID(string(b))
	if err != nil {
		return err
	}
	*id = v
	return nil
}

// EventID names one event; two appends of the same id are the same event.
type EventID uuid.UUID

// NewEventID returns a random (version 4) id.
func NewEventID() EventID { return EventID(uuid.New()) }

// String returns the canonical lower-case form.
func (id EventID) String() string { return uuid.UUID(id).String() }

// MarshalText implements encoding.TextMarshaler.
func (id EventID) MarshalText() ([]byte, error) { return uuid.UUID(id).MarshalText() }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *EventID) UnmarshalText(b []byte) error {
	u, err := parseUUID(string(b))
	if err != nil {
		return Invalid("event_id", "must be a UUID in its 36-character form")
	}
	*id = EventID(u)
	return nil
}

// ActivationID names one life of an agent on one node, from waking to
// hibernation, crash or move. It is random, so the ids derived from it are
// unique even when two nodes believe they own the same agent.
type ActivationID uuid.UUID

// NewActivationID returns a random (version 4) id.
func NewActivationID() ActivationID { return ActivationID(uuid.New()) }

// EventID derives the id of event index of a turn: UUIDv5 (RFC 9562, section
// 5.5) of the activation, the turn's number and the index. A repeated append of
// the same turn therefore carries the same ids.
func (a ActivationID) EventID(turn uint64, index int) EventID {
	return EventID(uuid.NewSHA1(uuid.UUID(a), []byte(strconv.FormatUint(turn, 10)+"/"+strconv.Itoa(index))))
}

// requestNamespace is the UUIDv5 name space of ids derived from a principal and
// an Idempotency-Key.
var requestNamespace = uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://caxton.run/ns/request"))

// RequestUUID derives an id from who asked and the Idempotency-Key given: the
// same request repeated gets the same id. kind keeps the ids of an agent, a
// message and an event that come from one key apart.
func RequestUUID(principal, key, kind string, index int) uuid.UUID {
	return requestUUID(strconv.Quote(principal)+strconv.Quote(key), kind, index)
}

// KeyedMessageID is the id of a message under an Idempotency-Key: scoped is the key as its
// principal's (agent.ScopedKey), receiver the agent's id, or the capability as it was
// written. It is RequestUUID of kind "message/" and the receiver.
func KeyedMessageID(scoped, receiver string) MessageID {
	return MessageID(requestUUID(scoped, "message/"+receiver, 0))
}

func requestUUID(scoped, kind string, index int) uuid.UUID {
	return uuid.NewSHA1(requestNamespace, []byte(scoped+kind+strconv.Itoa(index)))
}

// ModuleHash is the SHA-256 of a module's original bytes, in lower-case hex
// (64 characters).
type ModuleHash string

// HashModule returns the hash of a module as it was uploaded.
func HashModule(wasm []byte) ModuleHash {
	sum := sha256.Sum256(wasm)
	return ModuleHash(hex.EncodeToString(sum[:]))
}

// MemberID names a member of the cluster: "name#epoch", or the bare name on a
// single node.
type MemberID string

// parseUUID accepts only the canonical form: uuid.Parse also takes braces and
// URNs, which would give one agent several spellings in URLs and streams.
func parseUUID(s string) (uuid.UUID, error) {
	if len(s) != 36 {
		return uuid.UUID{}, fmt.Errorf("length %d, want 36", len(s))
	}
	return uuid.Parse(s)
}
