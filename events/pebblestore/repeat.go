package pebblestore

import (
	"bytes"
	"errors"
	"io"

	"github.com/cockroachdb/pebble/v2"
)

// repeatReader is how an append is looked up that seems to be a repetition. That takes
// three lookups for each of its events, most of them of neighbours, and a Get begins
// anew in every table: so Gets of one kind of key share an iterator. A value lasts until
// the next Get.
type repeatReader struct {
	pebble.Reader
	its map[byte]*pebble.Iterator // by kind
}

// readerOf returns what an append should be looked up with: db, unless its first id is
// known and it has more of them. What is not known is found by the filters of the tables,
// which an iterator does not ask. Who asked calls done.
func readerOf(db pebble.Reader, r *request) (_ pebble.Reader, done func() error, err error) {
	none := func() error { return nil }
	if len(r.events) < 2 {
		return db, none, nil
	}
	_, closer, err := db.Get(appendIDKey(nil, r.stream, r.events[0].ID))
	if errors.Is(err, pebble.ErrNotFound) {
		return db, none, nil
	}
	if err == nil {
		err = closer.Close()
	}
	if err != nil {
		return nil, nil, translate("event ids of stream "+string(r.stream), err)
	}
	repeat := repeatReader{db, make(map[byte]*pebble.Iterator)}
	return repeat, repeat.done, nil
}

// Get implements pebble.Reader.
func (r repeatReader) Get(key []byte) ([]byte, io.Closer, error) {
	kind := key[0]
	it := r.its[kind]
	if it == nil {
		var err error
		if it, err = r.NewIter(&pebble.IterOptions{LowerBound: []byte{kind}, UpperBound: []byte{kind + 1}}); err != nil {
			return nil, nil, err
		}
		r.its[kind] = it
	}
	if !it.SeekGE(key) || !bytes.Equal(it.Key(), key) {
		if err := it.Error(); err != nil {
			return nil, nil, err
		}
		return nil, nil, pebble.ErrNotFound
	}
	value, err := it.ValueAndErr()
	return value, io.NopCloser(nil), err
}

func (r repeatReader) done() (err error) {
	for _, it := range r.its {
		err = errors.Join(err, it.Close())
	}
	return err
}
