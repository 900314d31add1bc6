package wasmhost

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"github.com/caxton-run/caxton/events"
)

// A snapshot, version 2:
//
//	version (1 byte) | base (1 byte) | module (first 8 bytes of its SHA-256) |
//	zstd frame of the body
//	body: pages of memory, number of globals (uvarints) | clock, globals (8 bytes
//	each, little-endian) | number of capabilities (uvarint), each its length (uvarint)
//	and text | blocks that differ from the base: blocks skipped since the last one
//	(uvarint), blockBytes bytes
//
// The base is either all zero or the module's image after its initialisation,
// which is a function of the module alone. Capabilities are those that the module
// registered then; the image has them, so they stand only in one that builds on zeros.
//
// Version 1 had no capabilities. It is still read.
const (
	snapshotVersion  = 2
	snapshotNoSkills = 1
)

const (
	baseZero  byte = 0
	baseImage byte = 1
)

// ErrNotSnapshotable is returned for a module whose state is more than memory
// and globals; its agents are rebuilt by replay only.
var ErrNotSnapshotable = errors.New("wasmhost: the module's state cannot be captured in a snapshot")

// SnapshotError is a snapshot that cannot be read: damaged, of another version,
// or of another module.
type SnapshotError struct{ Detail string }

// Error implements error.
func (e *SnapshotError) Error() string { return "wasmhost: snapshot: " + e.Detail }

// Snapshot returns the guest's state as bytes: what it changed since its
// initialisation. Errors: ErrNotSnapshotable; a failed instance has none.
func (in *Instance) Snapshot() ([]byte, error) {
	if !in.mod.info.Snapshotable {
		return nil, ErrNotSnapshotable
	}
	if !in.Usable() {
		return nil, errors.New("wasmhost: snapshot: the instance failed within a message")
	}
	base, kind := in.base, baseImage
	if base == nil {
		kind = baseZero
	}
	mem := in.linear.buf
	body := binary.AppendUvarint(nil, uint64(len(mem)/pageBytes))
	body = binary.AppendUvarint(body, uint64(len(in.state)))
	body = binary.LittleEndian.AppendUint64(body, uint64(in.clock))
	for _, v := range in.globals() {
		body = binary.LittleEndian.AppendUint64(body, v)
	}
	body = appendNames(body, in.registered, kind == baseZero)
	next := 0
	for i := range len(mem) / blockBytes {
		if b := mem[i*blockBytes : (i+1)*blockBytes]; !base.sameBlock(i, b) {
			body = binary.AppendUvarint(body, uint64(i-next))
			body = append(body, b...)
			next = i + 1
		}
	}
	return in.host.zstd.compress(in.mod.snapshotHead(snapshotVersion, kind), body), nil
}

// appendNames writes capabilities, or that there are none.
func appendNames(body []byte, names []string, all bool) []byte {
	if !all {
		names = nil
	}
	body = binary.AppendUvarint(body, uint64(len(names)))
	for _, name := range names {
		body = append(binary.AppendUvarint(body, uint64(len(name))), name...)
	}
	return body
}

// readNames reads what appendNames wrote.
func readNames(body []byte) (names []string, rest []byte, ok bool) {
	n, body, ok := uvarint(body)
	if !ok || n > events.MaxCapabilities {
		return nil, nil, false
	}
	for range n {
		var size uint64
		if size, body, ok = uvarint(body); !ok || size > events.MaxCapabilityLength || size > uint64(len(body)) {
			return nil, nil, false
		}
		names = append(names, string(body[:size]))
		body = body[size:]
	}
	return names, body, true
}

// snapshotHeadBytes is the length of what stands before the compressed body.
const snapshotHeadBytes = 2 + 8

func (m *Module) snapshotHead(version, base byte) []byte {
	return binary.BigEndian.AppendUint64([]byte{version, base}, m.seed())
}

// Restore makes the instance that Snapshot described. Close it.
//
// Errors: *SnapshotError (a snapshot that needs more than maxMemory is one);
// ErrNotSnapshotable; *InitError when the module does not start; one that wraps
// events.ErrOverloaded when guests have Config.GuestMemory; ctx's error.
func (h *Host) Restore(ctx context.Context, m *Module, maxMemory uint64, snapshot []byte) (*Instance, error) {
	if !m.info.Snapshotable {
		return nil, ErrNotSnapshotable
	}
	switch {
	case len(snapshot) < snapshotHeadBytes || snapshot[0] < snapshotNoSkills || snapshot[0] > snapshotVersion || snapshot[1] > baseImage:
		return nil, &SnapshotError{"unknown version"}
	case !bytes.HasPrefix(snapshot, m.snapshotHead(snapshot[0], snapshot[1])):
		return nil, &SnapshotError{"of another module"}
	}
	body, err := h.zstd.decompress(snapshot[snapshotHeadBytes:], maxMemory)
	if err != nil {
		return nil, err
	}
	in, err := h.baseInstance(ctx, m, maxMemory, snapshot[1])
	if err != nil {
		return nil, err
	}
	if err := in.load(snapshot[0], snapshot[1], body); err != nil {
		in.Close()
		return nil, err
	}
	return in, nil
}

// baseInstance makes an instance in the state that a snapshot builds on.
func (h *Host) baseInstance(ctx context.Context, m *Module, maxMemory uint64, kind byte) (*Instance, error) {
	if kind == baseImage {
		in, err := h.Instantiate(ctx, m, maxMemory)
		if err == nil && in.base == nil && in.linear.denied { // else it is what the image would be
			in.Close()
			return nil, &SnapshotError{"it builds on an initial image that this module does not have under these limits"}
		}
		return in, err
	}
	in, err := h.blank(ctx, m, maxMemory)
	if err == nil {
		zero := &image{}
		zero.wipeOnly(in.filled())
		in.install(zero)
	}
	return in, err
}

// load puts the body of a snapshot of a version over its base.
func (in *Instance) load(version, base byte, body []byte) error {
	bad := func(what string) error { return &SnapshotError{what} }
	pages, body, ok := uvarint(body)
	if !ok || pages > 1<<16 {
		return bad("size of memory")
	}
	n, body, ok := uvarint(body)
	if !ok || n != uint64(len(in.state)) || uint64(len(body)) < 8+8*n {
		return bad("number of globals")
	}
	if !in.resize(pages * pageBytes) {
		if in.linear.exhausted {
			return in.linear.overloaded(pages * pageBytes)
		}
		return bad(fmt.Sprintf("memory of %d pages does not fit", pages))
	}
	in.clock = int64(binary.LittleEndian.Uint64(body))
	body = body[8:]
	for i := range in.state {
		in.state[i].Set(binary.LittleEndian.Uint64(body[8*i:]))
	}
	body = body[8*n:]
	if version > snapshotNoSkills {
		names, rest, ok := readNames(body)
		if !ok {
			return bad("capabilities")
		}
		if body = rest; base == baseZero {
			in.registered = names
		}
	}
	return in.loadBlocks(body)
}

// loadBlocks reads the blocks that differ from the base.
func (in *Instance) loadBlocks(body []byte) error {
	blocks := uint64(len(in.linear.buf) / blockBytes)
	for at := uint64(0); len(body) > 0; at++ {
		skip, rest, ok := uvarint(body)
		if !ok || skip >= blocks || at+skip >= blocks || len(rest) < blockBytes {
			return &SnapshotError{"a block of memory"}
		}
		at += skip
		copy(in.linear.buf[at*blockBytes:], rest[:blockBytes])
		body = rest[blockBytes:]
	}
	return nil
}

func uvarint(b []byte) (v uint64, rest []byte, ok bool) {
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, b, false
	}
	return v, b[n:], true
}

// codec compresses snapshots. It may be used by many goroutines.
type codec struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

// snapshotWindow bounds what each encoder and decoder keeps.
const snapshotWindow = 256 << 10

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

func (c *codec) compress(dst, body []byte) []byte { return c.enc.EncodeAll(body, dst) }

// decompress returns a snapshot's body. What it says about its own size is
// checked against what a memory of maxMemory bytes can need before any of it is
// allocated. Errors are *SnapshotError.
func (c *codec) decompress(frame []byte, maxMemory uint64) ([]byte, error) {
	var head zstd.Header
	if err := head.Decode(frame); err != nil || head.Skippable {
		return nil, &SnapshotError{"not a compressed body"}
	}
	size := head.FrameContentSize
	if !head.HasFCS {
		size = 255 // smaller bodies do not say their size
	}
	const globals = 1 << 16 // bytes; the meter admits fewer
	const names = events.MaxCapabilities * (events.MaxCapabilityLength + 2)
	if limit := maxMemory + maxMemory/64 + globals + names; size > limit {
		return nil, &SnapshotError{fmt.Sprintf("body of %d bytes, at most %d can be in use", size, limit)}
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
