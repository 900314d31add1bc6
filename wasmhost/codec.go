package wasmhost

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/caxton-run/caxton/events"
)

// maxSnapshotBytes is the largest snapshot: the log takes 60 MiB of one
// (replay.EncodeSnapshot), so that more would be made to be thrown away.
const maxSnapshotBytes = 64 << 20

// shortBuffer is a buffer that ends what writes too much.
type shortBuffer struct{ bytes.Buffer }

// Write implements io.Writer. Error: events.ErrTooLarge.
func (b *shortBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxSnapshotBytes {
		return 0, fmt.Errorf("more than %d bytes: %w", maxSnapshotBytes, events.ErrTooLarge)
	}
	return b.Buffer.Write(p)
}

// codec compresses snapshots. It may be used by many goroutines.
type codec struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

// snapshotWindow bounds what each encoder and decoder keeps. maxWindow is what one may
// ask for that is read: the largest that any version of the codec chose by itself.
const (
	snapshotWindow = 256 << 10
	maxWindow      = 8 << 20
)

// wholeBody is the largest body that is made or read at one go, on the Go heap. Larger
// ones are a guest's memory once more, of hundreds of MiB, while guests that sleep and
// wake together do so by the dozen: they pass through the window.
const wholeBody = 1 << 20

func newCodec() (*codec, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(snapshotWindow),
		zstd.WithEncoderConcurrency(2), zstd.WithLowerEncoderMem(true), zstd.WithZeroFrames(true))
	if err != nil {
		return nil, fmt.Errorf("wasmhost: zstd: %w", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderLowmem(true), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fmt.Errorf("wasmhost: zstd: %w", err)
	}
	return &codec{enc, dec}, nil
}

// pack appends to dst the frame of a body of size bytes, which write writes. Error:
// events.ErrTooLarge.
func (c *codec) pack(dst []byte, size int, write func(io.Writer) error) ([]byte, error) {
	if size <= wholeBody {
		body := bytes.NewBuffer(make([]byte, 0, size))
		if err := write(body); err != nil { // a buffer has no errors
			return nil, err
		}
		return c.compress(dst, body.Bytes()), nil
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(snapshotWindow),
		zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("wasmhost: zstd: %w", err)
	}
	out := &shortBuffer{*bytes.NewBuffer(dst)}
	enc.ResetContentSize(out, int64(size)) // Restore is told before it reads
	if err := errors.Join(write(enc), enc.Close()); err != nil {
		return nil, fmt.Errorf("wasmhost: snapshot: %w", err)
	}
	return out.Bytes(), nil
}

// unpack returns a reader of a snapshot's body, until done. Errors are *SnapshotError,
// those of reading are not.
func (c *codec) unpack(frame []byte, maxMemory uint64) (body *bufio.Reader, done func(), err error) {
	size, err := bodySize(frame, maxMemory)
	if err != nil {
		return nil, nil, err
	}
	if size <= wholeBody {
		b, err := c.decompress(frame, maxMemory)
		return bufio.NewReader(bytes.NewReader(b)), func() {}, err
	}
	dec, err := zstd.NewReader(bytes.NewReader(frame), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecodeBuffersBelow(0))
	if err != nil {
		return nil, nil, &SnapshotError{err.Error()}
	}
	return bufio.NewReaderSize(dec, 64<<10), dec.Close, nil
}

func (c *codec) compress(dst, body []byte) []byte { return c.enc.EncodeAll(body, dst) }

// bodySize is what a frame says of its body's size, checked against what a memory of
// maxMemory bytes can need before any of it is allocated. Errors are *SnapshotError.
func bodySize(frame []byte, maxMemory uint64) (uint64, error) {
	var head zstd.Header
	if err := head.Decode(frame); err != nil || head.Skippable {
		return 0, &SnapshotError{"not a compressed body"}
	}
	size := head.FrameContentSize
	if !head.HasFCS {
		size = 255 // smaller bodies do not say their size
	}
	const globals = 1 << 16 // bytes; the meter admits fewer
	const names = events.MaxCapabilities * (events.MaxCapabilityLength + 2)
	if limit := maxMemory + maxMemory/64 + globals + names; size > limit {
		return 0, &SnapshotError{fmt.Sprintf("body of %d bytes, at most %d can be in use", size, limit)}
	}
	return size, nil
}

// decompress returns a snapshot's body whole. Errors are *SnapshotError.
func (c *codec) decompress(frame []byte, maxMemory uint64) ([]byte, error) {
	size, err := bodySize(frame, maxMemory)
	if err != nil {
		return nil, err
	}
	// No more than it said: further frames may follow, and say nothing.
	body, err := c.dec.DecodeAll(frame, make([]byte, 0, size))
	if err != nil {
		return nil, &SnapshotError{err.Error()}
	}
	return body, nil
}

func (c *codec) close() {
	_ = c.enc.Close() // nothing is being written
	c.dec.Close()
}
