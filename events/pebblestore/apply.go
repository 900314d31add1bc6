package pebblestore

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/caxton-run/caxton/events"
)

// errStale is a command that was decided on another state of the log than the
// one it is applied to. It changes nothing.
var errStale = errors.New("command does not continue the log")

// state is the log as far as it was decided. It belongs to the committer's
// goroutine.
type state struct {
	next  events.Position // of the next event
	root  root            // of all events below next
	heads *heads

	entries []entry // scratch, reused
	key     []byte  // scratch, reused
	command []byte  // scratch, reused
}

// batchWriter is the half of a pebble.Batch that apply needs.
type batchWriter interface {
	Set(key, value []byte, o *pebble.WriteOptions) error
	Delete(key []byte, o *pebble.WriteOptions) error
}

// apply adds one command to batch and moves the state. It is a pure function of
// state and command: it reads no clock, chooses no id, and visits nothing in
// map order, so every log that applies the same commands holds the same bytes.
//
// Errors: *events.CorruptError (the command does not read); errStale. Either
// leaves batch and state as they were.
func (st *state) apply(batch batchWriter, command []byte) error {
	kind, body, err := openCommand(command)
	switch {
	case err != nil:
		return err
	case kind == commandScavenge:
		return st.applyScavenge(batch, body)
	}
	return st.applyAppend(batch, body)
}

func (st *state) applyAppend(batch batchWriter, body []byte) error {
	entries, err := decodeAppend(st.entries[:0], body)
	if err != nil {
		return err
	}
	st.entries = entries
	defer clear(entries) // they alias the command
	first := &entries[0].rec
	stream := events.Stream(first.stream)
	sh, err := st.heads.get(stream)
	if err != nil {
		return err
	}
	next := events.Revision(0)
	if sh.exists {
		next = sh.last + 1
	}
	if first.rev != next || first.pos != st.next {
		return fmt.Errorf("%w: stream %s revision %d at position %d, want revision %d at position %d",
			errStale, stream, first.rev, first.pos, next, st.next)
	}
	if !sh.exists {
		sh.firstPos = first.pos
	}
	last := &entries[len(entries)-1].rec
	hide, err := st.hides(stream, last)
	if err != nil {
		return err
	}
	for i := range entries {
		st.applyEvent(batch, stream, &entries[i])
		st.chain(batch, &entries[i])
	}
	sh.exists, sh.last, sh.lastPos = true, last.rev, last.pos
	sh.tombstoned = events.Type(last.typ) == events.TypeStreamDeleted
	st.key = appendHeadKey(st.key[:0], stream)
	mustSet(batch, st.key, appendHead(nil, sh.head))
	st.heads.set(stream, sh)
	st.next = last.pos + 1
	hide()
	return nil
}

// hides returns what must be noted of another stream when last is the last event
// of stream: metadata say what is hidden of the stream they belong to.
func (st *state) hides(stream events.Stream, last *record) (note func(), err error) {
	of, ok := stream.MetadataOf()
	if !ok {
		return func() {}, nil
	}
	md, err := events.DecodeStreamMetadata(last.data)
	if err != nil {
		return nil, badCommand("metadata in %s: %v", stream, err)
	}
	sh, err := st.heads.get(of)
	if err != nil {
		return nil, err
	}
	sh.hidden = md.TruncateBefore
	return func() { st.heads.set(of, sh) }, nil
}

// applyEvent writes one event's record and its place in every index.
func (st *state) applyEvent(batch batchWriter, stream events.Stream, e *entry) {
	pos := uint64(e.rec.pos)
	k := appendEventKey(st.key[:0], e.rec.pos)
	mustSet(batch, k, e.raw)
	k = appendNumberedKey(k[:0], kindStream, stream, uint64(e.rec.rev))
	mustSet(batch, k, number(pos))
	k = appendIDKey(k[:0], stream, e.rec.id)
	mustSet(batch, k, number(uint64(e.rec.rev)))
	k = appendNumberedKey(k[:0], kindCategory, string(stream.Category()), pos)
	mustSet(batch, k, nil)
	k = appendNumberedKey(k[:0], kindType, e.rec.typ, pos)
	mustSet(batch, k, nil)
	if len(e.correlation) > 0 {
		k = appendCorrelationPrefix(k[:0], e.correlation)
		mustSet(batch, append(k, number(pos)...), nil)
	}
	st.key = k
}

// chain takes one event into the root, and stores the root at the end of a chunk.
func (st *state) chain(batch batchWriter, e *entry) {
	st.root = st.root.after(leafOf(e.raw))
	if endsChunk(e.rec.pos) {
		st.key = appendRootKey(st.key[:0], uint64(e.rec.pos)/ChunkEvents)
		mustSet(batch, st.key, appendRoot(nil, st.root))
	}
}

// mustSet adds to a batch in memory, which fails only when the batch was
// already committed.
func mustSet(batch batchWriter, key, value []byte) {
	if err := batch.Set(key, value, nil); err != nil {
		panic(fmt.Sprintf("pebblestore: batch refuses a key: %v", err))
	}
}
