package pebblestore

import (
	"bytes"
	"errors"
	"io"

	"github.com/cockroachdb/pebble/v2"
)

// repeatReader is how an append is looked up that may be a repetition. What is not known
// is found by the filters of the tables, which an iterator does not ask. Once an id is
// known there are three lookups for each event, most of them of neighbours, and a Get
// begins anew in every table: so from then on Gets of one kind of key share an iterator.
// A value lasts until the next Get.
type repeatReader struct {
	pebble.Reader
	its map[byte]*pebble.Iterator // by kind; nil: nothing was found yet
}

// Get implements pebble.Reader.
func (r *repeatReader) Get(key []byte) ([]byte, io.Closer, error) {
	if r.its == nil {
		value, closer, err := r.Reader.Get(key)
		if err == nil {
			r.its = make(map[byte]*pebble.Iterator)
		}
		return value, closer, err
	}
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

// done closes the iterators.
func (r *repeatReader) done() (err error) {
	for _, it := range r.its {
		err = errors.Join(err, it.Close())
	}
	return err
}
