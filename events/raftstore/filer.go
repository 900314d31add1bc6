package raftstore

import (
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// filer is raft-wal's, and opens the files that it could not open again.
//
// raft-wal v0.4.0 seals a file when the end of the log is cut off in it, but only in
// its notes: the index that a sealed file has at its end was never written
// (hashicorp/raft-wal#31, mended after v0.4.0). Such a file is read through, as one
// that is still written to; what was cut off it is known from the notes.
type filer struct{ *segment.Filer }

var _ types.SegmentFiler = filer{}

// Open implements types.SegmentFiler.
func (f filer) Open(info types.SegmentInfo) (types.SegmentReader, error) {
	if info.IndexStart == 0 {
		return f.RecoverTail(info)
	}
	return f.Filer.Open(info)
}
