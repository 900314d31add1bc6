package events

import (
	"context"
	"iter"
)

// Store is a durable log of streams. Every method may be called from any
// goroutine. An append touches one stream; there are no transactions over
// several, because EventStoreDB, one of the engines, has none.
//
// Engines pass the suite in package storetest.
type Store interface {
	// Append adds events to the end of stream if expected holds there.
	//
	// When it returns nil the events are on disk (fsynced) and, in a cluster,
	// on a quorum; readers see them from that moment and not before. Events
	// whose ids stand already at the same place with the same bytes are a
	// success with Result.Duplicate; nothing is written.
	//
	// Errors: *WrongRevisionError, ErrIDReused (an id is known with other
	// bytes, or only some of the events are known), ErrTooLarge,
	// *InvalidError (bad stream name, no events, a stream or type of the log's
	// own), ErrStreamDeleted (a tombstone), ErrReadOnly, ErrClosed, and ctx's error. After ctx's error or
	// ErrUnknownOutcome the append may yet be committed: the caller repeats
	// the same bytes until it knows.
	Append(ctx context.Context, stream Stream, expected ExpectedRevision, evs ...Event) (Result, error)

	// ReadStream yields the events of one stream, in order or backwards, up to
	// what was durable when the read began. It ends with one error at most:
	// ErrStreamNotFound (the stream never had an event, or was deleted),
	// ErrStreamDeleted (a tombstone), *CorruptError, ErrClosed or ctx's error.
	// Events that the stream's metadata hide are passed over.
	ReadStream(ctx context.Context, stream Stream, opts ReadStreamOptions) iter.Seq2[Recorded, error]

	// ReadAll yields events of the whole log by position, in order or
	// backwards, up to what was durable when the read began. Hidden events are
	// among them until a scavenge. Errors are as for ReadStream, without
	// ErrStreamNotFound and ErrStreamDeleted.
	ReadAll(ctx context.Context, opts ReadAllOptions) iter.Seq2[Recorded, error]

	// SubscribeStream follows one stream from a revision on (it need not
	// exist yet): what is there first, then what comes, without gap or
	// repetition. Events that the metadata hide when it begins are passed over.
	SubscribeStream(ctx context.Context, stream Stream, from Revision) (Subscription, error)

	// SubscribeAll follows the log from a position on, filtered.
	SubscribeAll(ctx context.Context, from Position, filter Filter) (Subscription, error)

	// StreamMetadata returns a stream's metadata and the revision they have in
	// its MetadataStream; ok is false when none were ever set. Errors:
	// ErrStreamDeleted (a tombstone), *CorruptError, ErrClosed, ctx's.
	StreamMetadata(ctx context.Context, stream Stream) (md StreamMetadata, at Revision, ok bool, err error)

	// SetStreamMetadata replaces a stream's metadata; the stream need not exist
	// yet. expected is about the revisions of its MetadataStream. Errors are
	// those of Append, and *InvalidError for metadata out of bounds.
	SetStreamMetadata(ctx context.Context, stream Stream, expected ExpectedRevision, md StreamMetadata) (Result, error)

	// Delete hides all events of a stream: it reads as one that never was, and
	// the next append begins it anew, with the revision after the last. expected
	// is about the stream itself. Errors are those of Append, and
	// ErrStreamNotFound when there is nothing to delete and expected allows that.
	Delete(ctx context.Context, stream Stream, expected ExpectedRevision) (Result, error)

	// Tombstone ends a stream for ever: its last event is of TypeStreamDeleted,
	// and from then on every call that names it is ErrStreamDeleted, this one
	// too. The stream need not exist. Errors are those of Append.
	Tombstone(ctx context.Context, stream Stream, expected ExpectedRevision) (Result, error)

	// Sync returns when this store has applied everything that was committed
	// anywhere before the call.
	Sync(ctx context.Context) error

	// Head is the position of the last durable event; ok is false when the log
	// is empty.
	Head(ctx context.Context) (pos Position, ok bool, err error)

	// Close stops the engine and returns when its last goroutine is gone.
	// Appends under way commit or fail with ErrClosed; what another member was
	// asked for and had not answered is ErrUnknownOutcome. A second call does
	// nothing.
	Close() error
}

// Subscription follows a stream or the log at its reader's pace: it holds no
// queue, so a slow reader costs the writer nothing and loses nothing.
// It is for one goroutine.
type Subscription interface {
	// Next returns the next event, waiting for one to become durable if need
	// be. Errors: ctx's, ErrClosed (store or subscription), *CorruptError.
	Next(ctx context.Context) (Recorded, error)

	// Close ends the subscription; a waiting Next returns ErrClosed. Safe to
	// call twice, from any goroutine.
	Close() error
}

// Direction of a read.
type Direction uint8

// Forwards is the order of commitment.
const (
	Forwards Direction = iota
	Backwards
)

// ReadStreamOptions says which part of a stream to read. The zero value reads
// all of it, forwards.
type ReadStreamOptions struct {
	From      Revision // first to yield; EndOfStream with Backwards begins at the last
	Direction Direction
	Max       int // events; 0 means no bound
}

// ReadAllOptions says which part of the log to read. The zero value reads all
// of it, forwards.
type ReadAllOptions struct {
	From      Position // first to yield; EndOfLog with Backwards begins at the last
	Direction Direction
	Max       int // events that pass the filter; 0 means no bound
	Filter    Filter
}

// Filter narrows a read of the log. Categories, and Types, are each a choice of
// one or another; an empty list admits all. Both given, both must hold.
type Filter struct {
	Categories []Category
	Types      []Type
}

// Matches reports whether an event of this stream and type passes.
func (f Filter) Matches(s Stream, t Type) bool {
	return (len(f.Categories) == 0 || contains(f.Categories, s.Category())) &&
		(len(f.Types) == 0 || contains(f.Types, t))
}

func contains[T comparable](list []T, v T) bool {
	for _, x := range list {
		if x == v {
			return true
		}
	}
	return false
}
