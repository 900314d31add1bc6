package raftstore

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"github.com/hashicorp/raft-wal/types"
)

// The frames of raft-wal's files (v0.4.0, segment/format.go). After a header of 32 bytes
// each is, little-endian:
//
//	0  type
//	1  zeros, 3 bytes
//	4  length of what follows (4); for a commit CRC-32C of all since the last one
//	8  what follows, with zeros up to a multiple of 8 bytes
const (
	walHeader = 32
	walFrame  = 8

	frameEntry  = 1
	frameIndex  = 2
	frameCommit = 3
)

// checkFrames reads a file of raft-wal's through, up to the batch that has the entry
// last, and holds each batch against its commit: raft-wal looks at the last one alone,
// and an entry's own checksum leaves out what means nothing. base is the index of the
// file's first entry. Damage wraps types.ErrCorrupt; other errors are r's.
func checkFrames(r io.Reader, base, last uint64) error {
	c := frameCheck{r: bufio.NewReaderSize(r, 64<<10), sum: crc32.New(castagnoli())}
	if err := c.take(walHeader); err != nil {
		return err
	}
	for next := base; next <= last; {
		entries, err := c.batch()
		if err != nil {
			return fmt.Errorf("batch of the entry %d: %w", next, err)
		}
		next += entries
	}
	return nil
}

type frameCheck struct {
	r   *bufio.Reader
	sum hash.Hash32 // CRC-32C since the last commit
}

// batch takes the frames up to the next commit, and returns how many entries they are.
func (c *frameCheck) batch() (entries uint64, err error) {
	for {
		head, err := c.r.Peek(walFrame)
		if err != nil {
			return 0, cutOff(err)
		}
		kind, value := head[0], binary.LittleEndian.Uint32(head[4:])
		if head[1]|head[2]|head[3] != 0 {
			return 0, fmt.Errorf("%w: a frame that begins with %x", types.ErrCorrupt, head[:4])
		}
		switch kind {
		case frameEntry:
			entries++
		case frameIndex:
		case frameCommit:
			if sum := c.sum.Sum32(); sum != value {
				return 0, fmt.Errorf("%w: CRC-32C is %08x, its commit says %08x", types.ErrCorrupt, sum, value)
			}
			c.sum.Reset()
			_, err := c.r.Discard(walFrame)
			return entries, err
		default:
			return 0, fmt.Errorf("%w: a frame of the unknown type %d", types.ErrCorrupt, kind)
		}
		if err := c.take(walFrame + padded(int64(value))); err != nil {
			return 0, err
		}
	}
}

// take adds the next n bytes to the sum.
func (c *frameCheck) take(n int64) error {
	_, err := io.CopyN(c.sum, c.r, n)
	return cutOff(err)
}

// padded is a length, filled up as raft-wal does.
func padded(n int64) int64 { return (n + walFrame - 1) &^ (walFrame - 1) }

// cutOff makes damage of the end of a file.
func cutOff(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: the file ends in it", types.ErrCorrupt)
	}
	return err
}
