package pebblestore

import (
	"encoding/binary"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/caxton-run/caxton/events"
)

// maxIndexed bounds the names of one filter that are looked up in the index: an
// open iterator each. A filter with more reads every event and drops those that
// do not match.
const maxIndexed = 32

// posting yields positions of an index in one direction.
type posting interface {
	// seek returns the position nearest to p, p included, in the direction of
	// reading; ok is false when there is none. Successive calls move in that
	// direction only.
	seek(p events.Position) (pos events.Position, ok bool, err error)
	close() error
}

// indexed is the postings under one prefix, below limit.
type indexed struct {
	it        *pebble.Iterator
	prefix    []byte
	backwards bool
	key       []byte // scratch
	at        events.Position
	ok        bool // at is set
	end       bool
}

func newIndexed(db pebble.Reader, prefix []byte, limit events.Position, dir events.Direction) (*indexed, error) {
	it, err := db.NewIter(&pebble.IterOptions{
		LowerBound: prefix,
		UpperBound: binary.BigEndian.AppendUint64(prefix[:len(prefix):len(prefix)], uint64(limit)),
	})
	if err != nil {
		return nil, translate("index", err)
	}
	return &indexed{it: it, prefix: prefix, backwards: dir == events.Backwards}, nil
}

// reached reports whether position a lies at or after b in reading direction.
func reached(a, b events.Position, backwards bool) bool {
	if backwards {
		return a <= b
	}
	return a >= b
}

func (x *indexed) seek(p events.Position) (events.Position, bool, error) {
	if x.end {
		return 0, false, nil
	}
	if x.ok && reached(x.at, p, x.backwards) {
		return x.at, true, nil
	}
	if !x.step(p) {
		x.end = true
		return 0, false, translate("index", x.it.Error())
	}
	k := x.it.Key()
	if len(k) != len(x.prefix)+8 {
		return 0, false, &events.CorruptError{Where: "index", Reason: "key of unknown form"}
	}
	x.at, x.ok = events.Position(binary.BigEndian.Uint64(k[len(x.prefix):])), true
	return x.at, true, nil
}

// step moves the iterator to p or the first place after it. The neighbour is
// tried first: in a filter that lets most events pass it is the one.
func (x *indexed) step(p events.Position) bool {
	if x.backwards {
		if x.ok && x.it.Prev() && x.number() <= p {
			return true
		}
		x.key = binary.BigEndian.AppendUint64(append(x.key[:0], x.prefix...), uint64(p)+1)
		return x.it.SeekLT(x.key)
	}
	if x.ok && x.it.Next() && x.number() >= p {
		return true
	}
	x.key = binary.BigEndian.AppendUint64(append(x.key[:0], x.prefix...), uint64(p))
	return x.it.SeekGE(x.key)
}

func (x *indexed) number() events.Position {
	k := x.it.Key()
	if len(k) < 8 { // of unknown form: seek says so
		return 0
	}
	return events.Position(binary.BigEndian.Uint64(k[len(k)-8:]))
}

func (x *indexed) close() error { return x.it.Close() }

// union yields what any of its lists yields.
type union struct {
	lists     []posting
	backwards bool
}

func (u *union) seek(p events.Position) (best events.Position, found bool, err error) {
	for _, l := range u.lists {
		pos, ok, err := l.seek(p)
		if err != nil {
			return 0, false, err
		}
		if ok && (!found || !reached(pos, best, u.backwards)) {
			best, found = pos, true
		}
	}
	return best, found, nil
}

func (u *union) close() error { return closeAll(u.lists) }

// intersection yields what all of its lists yield.
type intersection struct{ lists []posting }

func (x *intersection) seek(p events.Position) (events.Position, bool, error) {
	for agreed := 0; ; {
		for _, l := range x.lists {
			pos, ok, err := l.seek(p)
			if err != nil || !ok {
				return 0, false, err
			}
			if pos != p {
				p, agreed = pos, 0
			}
			if agreed++; agreed >= len(x.lists) {
				return p, true, nil
			}
		}
	}
}

func (x *intersection) close() error { return closeAll(x.lists) }

func closeAll(lists []posting) error {
	var err error
	for _, l := range lists {
		err = errors.Join(err, l.close())
	}
	return err
}

// newPostings opens the index for a filter. It is nil when the filter cannot be
// answered by the index.
func newPostings(db pebble.Reader, f events.Filter, limit events.Position, dir events.Direction) (posting, error) {
	var all []posting
	add := func(prefixes [][]byte) error {
		u := &union{backwards: dir == events.Backwards}
		all = append(all, u)
		for _, p := range prefixes {
			x, err := newIndexed(db, p, limit, dir)
			if err != nil {
				return err
			}
			u.lists = append(u.lists, x)
		}
		return nil
	}
	var err error
	if n := len(f.Categories); n > 0 && n <= maxIndexed {
		err = add(prefixes(kindCategory, f.Categories))
	}
	if n := len(f.Types); err == nil && n > 0 && n <= maxIndexed {
		err = add(prefixes(kindType, f.Types))
	}
	if err != nil {
		return nil, errors.Join(err, closeAll(all))
	}
	if len(all) == 0 {
		return nil, nil
	}
	return &intersection{lists: all}, nil
}

// prefixes returns the index prefixes of names; one that no stored name can
// equal is left out, because a zero byte in it would reach into other keys.
func prefixes[T ~string](kind byte, names []T) [][]byte {
	out := make([][]byte, 0, len(names))
	for _, n := range names {
		if n == "" || events.Stream(n).Validate() == nil {
			out = append(out, appendNamePrefix(nil, kind, n))
		}
	}
	return out
}
