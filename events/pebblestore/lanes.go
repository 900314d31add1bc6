package pebblestore

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// lanes collects what a group writes, the keys of each kind apart.
//
// Every event has a key of nearly every kind, and those of one kind are mostly neighbours
// of the ones before. Pebble's memory table looks for the place of a key near the one
// that it put in last: of a batch in the order of its events that is never near, and the
// search from the top is a third of the cost of writing them.
type lanes struct {
	db     *pebble.DB
	byKind [256]*pebble.Batch // nil: no key of that kind
}

// Set implements batchWriter.
func (l *lanes) Set(key, value []byte, o *pebble.WriteOptions) error {
	return l.of(key).Set(key, value, o)
}

// Delete implements batchWriter.
func (l *lanes) Delete(key []byte, o *pebble.WriteOptions) error {
	return l.of(key).Delete(key, o)
}

// of is the batch that key belongs to.
func (l *lanes) of(key []byte) *pebble.Batch {
	b := &l.byKind[key[0]]
	if *b == nil {
		*b = l.db.NewBatch()
	}
	return *b
}

// join makes one batch of all, kind after kind; those of one kind keep their order, for
// a head may be written more than once. It may be called once.
func (l *lanes) join() *pebble.Batch {
	size := 0
	for _, b := range l.byKind {
		if b != nil {
			size += b.Len()
		}
	}
	all := l.db.NewBatchWithSize(size)
	for _, b := range l.byKind {
		if b != nil {
			mustApply(all, b)
		}
	}
	return all
}

// mustApply moves what is in from, a batch in memory that is whole, to the end of to.
func mustApply(to, from *pebble.Batch) {
	if err := to.Apply(from, nil); err != nil {
		panic(fmt.Sprintf("pebblestore: batch refuses another: %v", err))
	}
	if err := from.Close(); err != nil {
		panic(fmt.Sprintf("pebblestore: batch does not close: %v", err))
	}
}
