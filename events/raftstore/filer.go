package raftstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// filer is raft-wal's, opens the files that it could not open again, and looks at the
// entries that it reads before raft-wal does.
//
// raft-wal v0.4.0 seals a file when the end of the log is cut off in it, but only in
// its notes: the index that a sealed file has at its end was never written
// (hashicorp/raft-wal#31, mended after v0.4.0). Such a file is read through, as one
// that is still written to; what was cut off it is known from the notes.
type filer struct{ *segment.Filer }

var _ types.SegmentFiler = filer{}

// Create implements types.SegmentFiler.
func (f filer) Create(info types.SegmentInfo) (types.SegmentWriter, error) {
	w, err := f.Filer.Create(info)
	if err != nil {
		return nil, err
	}
	return tailFile{w}, nil
}

// RecoverTail implements types.SegmentFiler.
func (f filer) RecoverTail(info types.SegmentInfo) (types.SegmentWriter, error) {
	w, err := f.Filer.RecoverTail(info)
	if err != nil {
		return nil, err
	}
	return tailFile{w}, nil
}

// Open implements types.SegmentFiler.
func (f filer) Open(info types.SegmentInfo) (types.SegmentReader, error) {
	if info.IndexStart == 0 {
		return f.RecoverTail(info)
	}
	r, err := f.Filer.Open(info)
	if err != nil {
		return nil, err
	}
	return sealedFile{r}, nil
}

// tailFile is a file that is written to.
type tailFile struct{ types.SegmentWriter }

// GetLog implements types.SegmentReader.
func (t tailFile) GetLog(index uint64) (*types.PooledBuffer, error) {
	return wellFormed(t.SegmentWriter.GetLog(index))
}

// sealedFile is a file that is read only.
type sealedFile struct{ types.SegmentReader }

// GetLog implements types.SegmentReader.
func (s sealedFile) GetLog(index uint64) (*types.PooledBuffer, error) {
	return wellFormed(s.SegmentReader.GetLog(index))
}

// wellFormed passes an entry on if raft-wal's codec can take it apart: it indexes out of
// range where a number does not end (v0.4.0).
func wellFormed(b *types.PooledBuffer, err error) (*types.PooledBuffer, error) {
	if err != nil {
		return nil, err
	}
	if err := checkCoded(b.Bs); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// checkCoded looks whether b is what raft-wal's BinaryCodec makes of an entry: index, term
// and type, data and extensions with their lengths, all of these numbers of base 128, and a
// time.Time. The error wraps types.ErrCorrupt.
func checkCoded(b []byte) error {
	for _, field := range []struct {
		name  string
		bytes bool // that many come behind it
	}{{"index", false}, {"term", false}, {"type", false}, {"data", true}, {"extensions", true}} {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return fmt.Errorf("%w: the entry's %s does not read", types.ErrCorrupt, field.name)
		}
		b = b[n:]
		if !field.bytes {
			continue
		}
		if v > uint64(len(b)) {
			return fmt.Errorf("%w: the entry's %s would be %d bytes of %d", types.ErrCorrupt, field.name, v, len(b))
		}
		b = b[v:]
	}
	if err := new(time.Time).UnmarshalBinary(b); err != nil {
		return fmt.Errorf("%w: the entry's time: %w", types.ErrCorrupt, err)
	}
	return nil
}
