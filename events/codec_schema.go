package events

import (
	"errors"
	"fmt"
)

// ErrNewerSchema is an event that a later caxton wrote: its type is known here, its
// schema version is not. Whoever folds state must stop: to read what is known of it
// would be to lose the rest without a word.
var ErrNewerSchema = errors.New("event of a newer schema")

// NewerSchemaError says which event is beyond this binary. It is ErrNewerSchema.
type NewerSchemaError struct {
	Event   EventID
	Type    Type
	Version int // of the event
	Known   int // the newest that this binary reads, < Version
}

// Error implements error.
func (e *NewerSchemaError) Error() string {
	return fmt.Sprintf("event %s: %s has schema version %d and this caxton reads up to %d: a newer one wrote it",
		e.Event, e.Type, e.Version, e.Known)
}

// Is makes errors.Is(err, ErrNewerSchema) true.
func (e *NewerSchemaError) Is(target error) bool { return target == ErrNewerSchema }

// SchemaVersion returns the version, from 1, of the data that this binary writes
// for a type: the schemaVersion of the event's metadata. Types that have no JSON
// have version 1; a version of their bytes, if they need one, stands in these.
// 0 is an unknown type.
//
// Every change of a type's JSON raises it, an added field too: an older binary then
// refuses the event instead of dropping the field. The steps are: the number here,
// an upcaster in codec_upcast.go, the golden file (UPDATE_GOLDEN=1), go generate.
func SchemaVersion(t Type) int {
	switch t {
	case TypeModuleChunk, TypeSnapshotTaken, TypeBlobChunk:
		return 1
	}
	s, _ := schemaOf(t)
	return s.version
}

// schema says how the data of one type read.
type schema struct {
	version int // written today; from 1
	read    func(data []byte) (Payload, error)
	raise   upcaster // nil while version is 1
}

// upcaster turns data of version from into data of version from+1, for each from
// below the type's version. It is pure, and reads nothing but the data: a log is
// upcast alike on every node and for ever.
type upcaster func(from int, data []byte) ([]byte, error)

// schemaOf is a switch, not a map in a variable: the set of types is part of the
// code, and nothing can register another at run time.
func schemaOf(t Type) (s schema, ok bool) {
	switch t {
	case AgentDeployed{}.EventType():
		return schema{1, decode[AgentDeployed], nil}, true
	case AgentSuspended{}.EventType():
		return schema{1, decode[AgentSuspended], nil}, true
	case AgentResumed{}.EventType():
		return schema{1, decode[AgentResumed], nil}, true
	case AgentStormDetected{}.EventType():
		return schema{2, decode[AgentStormDetected], upcastAgentStormDetected}, true
	case DeadLetterRetried{}.EventType():
		return schema{1, decode[DeadLetterRetried], nil}, true
	case AgentUpdated{}.EventType():
		return schema{2, decode[AgentUpdated], upcastAdded}, true
	case AgentStopRequested{}.EventType():
		return schema{1, decode[AgentStopRequested], nil}, true
	case AgentStopped{}.EventType():
		return schema{1, decode[AgentStopped], nil}, true
	case AgentRestarted{}.EventType():
		return schema{2, decode[AgentRestarted], upcastAdded}, true
	case AgentRemoved{}.EventType():
		return schema{1, decode[AgentRemoved], nil}, true
	case HistoryTrimmed{}.EventType():
		return schema{1, decode[HistoryTrimmed], nil}, true
	case MessageHandled{}.EventType():
		return schema{4, decode[MessageHandled], upcastRun}, true
	case MessageFailed{}.EventType():
		return schema{4, decode[MessageFailed], upcastRun}, true
	case MessageDeadLettered{}.EventType():
		return schema{4, decode[MessageDeadLettered], upcastMessageDeadLettered}, true
	case AgentCrashed{}.EventType():
		return schema{1, decode[AgentCrashed], nil}, true
	case AgentQuarantined{}.EventType():
		return schema{2, decode[AgentQuarantined], upcastMessages}, true
	case AgentFailed{}.EventType():
		return schema{2, decode[AgentFailed], upcastAgentFailed}, true
	case MessageReceived{}.EventType():
		return schema{2, decode[MessageReceived], upcastMessages}, true
	case InboxSkipped{}.EventType():
		return schema{1, decode[InboxSkipped], nil}, true
	case EmergencyStopped{}.EventType():
		return schema{1, decode[EmergencyStopped], nil}, true
	case EmergencyLifted{}.EventType():
		return schema{1, decode[EmergencyLifted], nil}, true
	case ClusterVersionRaised{}.EventType():
		return schema{1, decode[ClusterVersionRaised], nil}, true
	case ModuleUploaded{}.EventType():
		return schema{1, decode[ModuleUploaded], nil}, true
	case TimerSet{}.EventType():
		return schema{1, decode[TimerSet], nil}, true
	case TimerFired{}.EventType():
		return schema{1, decode[TimerFired], nil}, true
	case TimerCancelled{}.EventType():
		return schema{1, decode[TimerCancelled], nil}, true
	case ConversationTimedOut{}.EventType():
		return schema{1, decode[ConversationTimedOut], nil}, true
	case BlobStored{}.EventType():
		return schema{1, decode[BlobStored], nil}, true
	case CapabilityRegistered{}.EventType():
		return schema{1, decode[CapabilityRegistered], nil}, true
	}
	return schemaOfBreaker(t)
}

func schemaOfBreaker(t Type) (s schema, ok bool) {
	switch t {
	case BreakerOpened{}.EventType():
		return schema{2, decode[BreakerOpened], upcastAdded}, true
	case BreakerHalfOpened{}.EventType():
		return schema{1, decode[BreakerHalfOpened], nil}, true
	case BreakerClosed{}.EventType():
		return schema{1, decode[BreakerClosed], nil}, true
	case BreakerForced{}.EventType():
		return schema{1, decode[BreakerForced], nil}, true
	case BreakerResetStarted{}.EventType():
		return schema{1, decode[BreakerResetStarted], nil}, true
	}
	return schema{}, false
}
