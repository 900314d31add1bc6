package wasmhost

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

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
// initialisation. Errors: ErrNotSnapshotable; events.ErrTooLarge beyond 64 MiB; a failed
// instance has none.
func (in *Instance) Snapshot() ([]byte, error) {
	if !in.mod.info.Snapshotable {
		return nil, ErrNotSnapshotable
	}
	if !in.Usable() {
		return nil, errors.New("wasmhost: snapshot: the instance failed within a message")
	}
	if !in.claim() {
		return nil, errors.New("wasmhost: snapshot: the instance is in use or closed")
	}
	defer in.unclaim()
	kind := baseImage
	if in.base == nil {
		kind = baseZero
	}
	mem := in.linear.buf
	front := binary.AppendUvarint(nil, uint64(len(mem)/pageBytes))
	front = binary.AppendUvarint(front, uint64(len(in.state)))
	front = binary.LittleEndian.AppendUint64(front, uint64(in.clock))
	for _, v := range in.globals() {
		front = binary.LittleEndian.AppendUint64(front, v)
	}
	front = appendNames(front, in.registered, kind == baseZero)
	changed, size := in.changed()
	return in.host.zstd.pack(in.mod.snapshotHead(snapshotVersion, kind), len(front)+size, func(w io.Writer) error {
		if _, err := w.Write(front); err != nil {
			return err
		}
		return writeBlocks(w, mem, changed)
	})
}

// changed returns the blocks that differ from the base, and what they take in a body.
func (in *Instance) changed() (list []uint32, size int) {
	mem, next := in.linear.buf, 0
	var number [binary.MaxVarintLen64]byte
	for i := range len(mem) / blockBytes {
		if in.base.sameBlock(i, mem[i*blockBytes:(i+1)*blockBytes]) {
			continue
		}
		list = append(list, uint32(i))
		size += binary.PutUvarint(number[:], uint64(i-next)) + blockBytes
		next = i + 1
	}
	return list, size
}

func writeBlocks(w io.Writer, mem []byte, list []uint32) error {
	next := 0
	var number [binary.MaxVarintLen64]byte
	for _, at := range list {
		i := int(at)
		n := binary.PutUvarint(number[:], uint64(i-next))
		if _, err := w.Write(number[:n]); err != nil {
			return err
		}
		if _, err := w.Write(mem[i*blockBytes : (i+1)*blockBytes]); err != nil {
			return err
		}
		next = i + 1
	}
	return nil
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
func readNames(body *bufio.Reader) (names []string, ok bool) {
	n, err := binary.ReadUvarint(body)
	if err != nil || n > events.MaxCapabilities {
		return nil, false
	}
	for range n {
		size, err := binary.ReadUvarint(body)
		if err != nil || size > events.MaxCapabilityLength {
			return nil, false
		}
		name := make([]byte, size)
		if _, err := io.ReadFull(body, name); err != nil {
			return nil, false
		}
		names = append(names, string(name))
	}
	return names, true
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
	body, done, err := h.zstd.unpack(snapshot[snapshotHeadBytes:], maxMemory)
	if err != nil {
		return nil, err
	}
	defer done()
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
func (in *Instance) load(version, base byte, body *bufio.Reader) error {
	bad := func(what string) error { return &SnapshotError{what} }
	pages, err := binary.ReadUvarint(body)
	if err != nil || pages > 1<<16 {
		return bad("size of memory")
	}
	if n, err := binary.ReadUvarint(body); err != nil || n != uint64(len(in.state)) {
		return bad("number of globals")
	}
	values := make([]byte, 8+8*len(in.state))
	if _, err := io.ReadFull(body, values); err != nil {
		return bad("globals")
	}
	if !in.resize(pages * pageBytes) {
		if in.linear.exhausted {
			return in.linear.overloaded(pages * pageBytes)
		}
		return bad(fmt.Sprintf("memory of %d pages does not fit", pages))
	}
	in.clock = int64(binary.LittleEndian.Uint64(values))
	for i := range in.state {
		in.state[i].Set(binary.LittleEndian.Uint64(values[8+8*i:]))
	}
	if version > snapshotNoSkills {
		names, ok := readNames(body)
		if !ok {
			return bad("capabilities")
		}
		if base == baseZero {
			in.registered = names
		}
	}
	return in.loadBlocks(body)
}

// loadBlocks reads the blocks that differ from the base, to the body's end: no more
// than the memory has.
func (in *Instance) loadBlocks(body *bufio.Reader) error {
	blocks := uint64(len(in.linear.buf) / blockBytes)
	for at := uint64(0); ; at++ {
		if _, err := body.Peek(1); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return &SnapshotError{err.Error()}
		}
		skip, err := binary.ReadUvarint(body)
		if err != nil || skip >= blocks || at+skip >= blocks {
			return &SnapshotError{"a block of memory"}
		}
		at += skip
		if _, err := io.ReadFull(body, in.linear.buf[at*blockBytes:][:blockBytes]); err != nil {
			return &SnapshotError{"a block of memory"}
		}
	}
}

func uvarint(b []byte) (v uint64, rest []byte, ok bool) {
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, b, false
	}
	return v, b[n:], true
}
