package events

import (
	"strings"
	"unicode/utf8"
)

// MaxStreamName bounds a stream's name in bytes: names are keys of the log and
// travel in every URL of the audit interface.
const MaxStreamName = 512

// Stream names an ordered history of events, at most MaxStreamName bytes of
// printable UTF-8. Its category is what precedes the first "-". Names that
// begin with "$" are the log's own: see MetadataStream.
type Stream string

// Categories of the streams that caxton writes.
const (
	CategoryAgent    Category = "agent"
	CategoryInbox    Category = "inbox"
	CategoryModule   Category = "module"
	CategorySnapshot Category = "snapshot"
	CategoryBase     Category = "base"
	CategoryBlob     Category = "blob"

	CategoryEmergency Category = "emergency"
	CategoryBreaker   Category = "breaker"
	CategoryStorm     Category = "storm"
	CategoryCluster   Category = "cluster"
)

// Category groups streams of one kind: the part of the name before the first
// "-", or the whole name when it has none.
type Category string

// AgentStream is the history of one agent.
func AgentStream(id AgentID) Stream { return Stream("agent-" + id.String()) }

// InboxStream holds messages that were accepted for an agent and not yet
// handled.
func InboxStream(id AgentID) Stream { return Stream("inbox-" + id.String()) }

// ModuleStream holds the bytes of one module, in chunks.
func ModuleStream(h ModuleHash) Stream { return Stream("module-" + string(h)) }

// BlobStream holds the bytes of one message's content that is too large for an
// event, in chunks.
func BlobStream(h BlobHash) Stream { return Stream("blob-" + string(h)) }

// SnapshotStream holds the last snapshots of one agent.
func SnapshotStream(id AgentID) Stream { return Stream("snapshot-" + id.String()) }

// BaseStream holds the confirmed snapshot that stands for what was removed of one
// agent's history.
func BaseStream(id AgentID) Stream { return Stream("base-" + id.String()) }

// BreakerStream holds the transitions of one circuit breaker.
func BreakerStream(s BreakerScope) Stream { return Stream("breaker-" + string(s)) }

// EmergencyStream holds emergency stops of all agents, and their ends.
func EmergencyStream() Stream { return "emergency-all" }

// StormStream holds the storms that were detected.
func StormStream() Stream { return "storm-all" }

// ClusterStream tells of the cluster as a whole.
func ClusterStream() Stream { return "cluster-main" }

// Category returns what precedes the first "-".
func (s Stream) Category() Category {
	if i := strings.IndexByte(string(s), '-'); i >= 0 {
		return Category(s[:i])
	}
	return Category(s)
}

// AgentID returns the agent of an agent-, inbox-, snapshot- or base- stream; ok is
// false for any other stream.
func (s Stream) AgentID() (id AgentID, ok bool) {
	switch s.Category() {
	case CategoryAgent, CategoryInbox, CategorySnapshot, CategoryBase:
	default:
		return AgentID{}, false
	}
	_, rest, _ := strings.Cut(string(s), "-")
	id, err := ParseAgentID(rest)
	return id, err == nil
}

// Validate reports why a name cannot be a stream, as an *InvalidError for field
// "stream".
func (s Stream) Validate() error {
	switch {
	case s == "":
		return Invalid("stream", "must not be empty")
	case len(strings.TrimPrefix(string(s), metadataPrefix)) > MaxStreamName:
		return Invalidf("stream", "must be at most %d bytes", MaxStreamName)
	case !utf8.ValidString(string(s)):
		return Invalid("stream", "must be valid UTF-8")
	}
	for _, r := range s {
		if r < 0x20 || r == 0x7f {
			return Invalid("stream", "must not contain control characters")
		}
	}
	return nil
}
