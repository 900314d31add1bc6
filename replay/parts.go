package replay

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
)

// snapshotVersion is the first byte of a SnapshotTaken event's data:
//
//	version (3) | index of this part (2) | number of parts (2) | SHA-256 of the whole (32) | part
//
// with numbers big-endian. The parts of one snapshot, joined, are the whole:
//
//	length of the state (uvarint) | length as it stands here (uvarint) | state | guest's memory
//
// State is what agent.State.MarshalBinary gives, a zstd frame of it where that is
// shorter; the memory what wasmhost.Instance.Snapshot gives, empty for an agent
// without a guest.
//
// Versions 1 and 2 were one event each, of
//
//	version | length of the state (4, big-endian) | state, as JSON | guest's memory
//
// and are read. Version 1 had no timers and no capabilities in the state: an agent
// of that time had neither.
const snapshotVersion = 3

const partHeadBytes = 1 + 2 + 2 + sha256.Size

// Bounds of a snapshot. What exceeds them is not written, and its agent is replayed
// from further back.
const (
	partBytes        = 960 << 10 // an append has room for it and what stands around it
	maxSnapshotParts = 64        // 60 MiB, which a wake holds whole; reading more takes longer than most replays
	maxStateBytes    = 128 << 20 // of the state unpacked: values, keys and peers at their bounds
	packedFrom       = 4 << 10   // a smaller state is not worth an encoder's memory
)

// EncodeSnapshot makes the events of a snapshot at the agent's present revision, to
// be appended in their order, each by itself and with nothing between them.
// Error: events.ErrTooLarge; the agent then is replayed from further back.
func EncodeSnapshot(st *agent.State, memory []byte) ([]events.Event, error) {
	fail := func(err error) ([]events.Event, error) {
		return nil, fmt.Errorf("snapshot of agent %s: %w", st.ID, err)
	}
	state, err := st.MarshalBinary()
	if err != nil {
		return fail(err)
	}
	if len(state) > maxStateBytes {
		return fail(fmt.Errorf("a state of %d bytes, at most %d are written: %w", len(state), maxStateBytes, events.ErrTooLarge))
	}
	packed, err := pack(state)
	if err != nil {
		return fail(err)
	}
	head := binary.AppendUvarint(nil, uint64(len(state)))
	head = binary.AppendUvarint(head, uint64(len(packed)))
	w := whole{head, packed, memory}
	if w.parts() > maxSnapshotParts {
		return fail(fmt.Errorf("%d bytes, at most %d are written: %w", w.len(), maxSnapshotParts*partBytes, events.ErrTooLarge))
	}
	return w.events(), nil
}

// whole is a snapshot as its pieces, which are not joined: the memory of a guest is
// not copied more often than into its parts.
type whole [][]byte

func (w whole) len() (n int) {
	for _, piece := range w {
		n += len(piece)
	}
	return n
}

func (w whole) parts() int { return (w.len() + partBytes - 1) / partBytes }

func (w whole) sum() (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, piece := range w {
		_, _ = h.Write(piece) // never fails
	}
	h.Sum(sum[:0])
	return sum
}

// events cuts the whole into its parts, each in a buffer of its size.
func (w whole) events() []events.Event {
	sum, count, left := w.sum(), w.parts(), w.len()
	list := make([]events.Event, 0, count)
	pieces := slices.Clone(w)
	for i := range count {
		size := min(partBytes, left)
		left -= size
		data := make([]byte, 0, partHeadBytes+size)
		data = append(data, snapshotVersion)
		data = binary.BigEndian.AppendUint16(data, uint16(i))
		data = binary.BigEndian.AppendUint16(data, uint16(count))
		data = append(data, sum[:]...)
		for size > 0 {
			n := min(size, len(pieces[0]))
			data = append(data, pieces[0][:n]...)
			if size, pieces[0] = size-n, pieces[0][n:]; len(pieces[0]) == 0 {
				pieces = pieces[1:]
			}
		}
		list = append(list, PartEvent(data))
	}
	return list
}

// PartEvent is a new SnapshotTaken event of one part's data.
func PartEvent(data []byte) events.Event {
	return events.Event{
		ID: events.NewEventID(), Type: events.TypeSnapshotTaken, ContentType: events.Binary,
		Data: data, Metadata: events.Metadata{SchemaVersion: events.SchemaVersion(events.TypeSnapshotTaken)}.Encode(),
	}
}

// gatherer puts snapshots together from their events, read backwards. A snapshot
// is whole or it is not there: parts that something stands between, that are too few
// or of other bytes than were written, come to nothing.
type gatherer struct {
	sum   [sha256.Size]byte
	parts [][]byte // data of events, from the one with index next+1 on; nil outside of a snapshot
	next  int      // index of the part that has to come
}

// add takes the data of the next older event. whole is true when a snapshot
// ends, or rather begins, with it; it may be a damaged one, which err says, a
// *events.CorruptError.
func (g *gatherer) add(data []byte) (s stored, whole bool, err error) {
	if len(data) > 0 && (data[0] == 1 || data[0] == 2) {
		g.parts = nil
		s, err = decodeOld(data)
		s.data = [][]byte{data}
		return s, true, err
	}
	if len(data) == 0 || data[0] != snapshotVersion {
		g.parts = nil
		version := -1
		if len(data) > 0 {
			version = int(data[0])
		}
		return stored{}, true, corrupt("unknown version %d", version)
	}
	if len(data) < partHeadBytes {
		g.parts = nil
		return stored{}, true, corrupt("too short")
	}
	index, count := int(binary.BigEndian.Uint16(data[1:])), int(binary.BigEndian.Uint16(data[3:]))
	sum := [sha256.Size]byte(data[5:])
	switch {
	case index == count-1 && count <= maxSnapshotParts: // the last one is read first
		g.sum, g.parts = sum, make([][]byte, count)
	case g.parts == nil || len(g.parts) != count || g.sum != sum || index != g.next:
		g.parts = nil
		return stored{}, false, nil
	}
	g.parts[index], g.next = data, index-1
	if index > 0 {
		return stored{}, false, nil
	}
	s, err = decodeParts(sum, g.parts)
	g.parts = nil
	return s, true, err
}

// stored is a snapshot as it was read.
type stored struct {
	state  *agent.State
	memory []byte
	data   [][]byte // of its events, in the order of the log
}

// DecodeSnapshot reads the data of the events that EncodeSnapshot made, in their
// order. Errors are *events.CorruptError.
func DecodeSnapshot(data ...[]byte) (st *agent.State, memory []byte, err error) {
	s, err := decodeSnapshot(data)
	return s.state, s.memory, err
}

func decodeSnapshot(data [][]byte) (stored, error) {
	var g gatherer
	for _, d := range slices.Backward(data) {
		if s, whole, err := g.add(d); whole {
			return s, err
		}
	}
	return stored{}, corrupt("it is not whole")
}

func corrupt(format string, args ...any) error {
	return &events.CorruptError{Where: "snapshot", Reason: fmt.Sprintf(format, args...)}
}

// holds is what a snapshot takes of memory while it is read, by its event that is read
// first: its parts and, of several, what they are joined to; of one, what its state is
// unpacked to, which may be thousands of times as much. What that is of several, the
// first part says, so many events before. It is 0 for an event that no snapshot ends with.
func holds(last []byte) (bytes, before int) {
	if len(last) < partHeadBytes || last[0] != snapshotVersion {
		return len(last), 0
	}
	index, count := int(binary.BigEndian.Uint16(last[1:])), int(binary.BigEndian.Uint16(last[3:]))
	switch {
	case index != count-1 || count > maxSnapshotParts:
		return 0, 0
	case count == 1:
		return len(last) + unpacksTo(last[partHeadBytes:]), 0
	}
	return 2 * count * partBytes, index
}

// isFirst reports whether data is the first part of the snapshot with this last one.
func isFirst(data, last []byte) bool {
	return len(data) >= partHeadBytes && data[0] == last[0] &&
		binary.BigEndian.Uint16(data[1:]) == 0 && string(data[3:partHeadBytes]) == string(last[3:partHeadBytes])
}

// unpacksTo is what the packed state of a snapshot says that it takes; 0 for one that
// is not packed, or not read.
func unpacksTo(whole []byte) int {
	size, n := binary.Uvarint(whole)
	if n <= 0 || size > maxStateBytes {
		return 0
	}
	if packed, m := binary.Uvarint(whole[n:]); m <= 0 || packed == size {
		return 0
	}
	return int(size)
}

func decodeParts(sum [sha256.Size]byte, parts [][]byte) (stored, error) {
	whole := parts[0][partHeadBytes:]
	if len(parts) > 1 {
		size := 0
		for _, data := range parts {
			size += len(data) - partHeadBytes
		}
		whole = make([]byte, 0, size)
		for _, data := range parts {
			whole = append(whole, data[partHeadBytes:]...)
		}
	}
	if sha256.Sum256(whole) != sum {
		return stored{}, corrupt("its bytes are not those that were written")
	}
	s, err := decodeWhole(whole)
	s.data = parts
	return s, err
}

func decodeWhole(b []byte) (stored, error) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > maxStateBytes {
		return stored{}, corrupt("length of the state")
	}
	b = b[n:]
	packed, n := binary.Uvarint(b)
	if n <= 0 || packed > uint64(len(b)-n) {
		return stored{}, corrupt("state longer than the snapshot")
	}
	b = b[n:]
	state := b[:packed]
	if packed != size {
		var err error
		if state, err = unpack(state, int(size)); err != nil {
			return stored{}, corrupt("state: %v", err)
		}
	}
	return decodeState(state, b[packed:])
}

// decodeOld reads an event of version 1 or 2.
func decodeOld(data []byte) (stored, error) {
	if len(data) < 5 {
		return stored{}, corrupt("too short")
	}
	n := binary.BigEndian.Uint32(data[1:])
	if uint64(n) > uint64(len(data)-5) {
		return stored{}, corrupt("state longer than the snapshot")
	}
	return decodeState(data[5:5+n], data[5+n:])
}

func decodeState(state, memory []byte) (stored, error) {
	st := new(agent.State)
	if err := st.UnmarshalBinary(state); err != nil {
		return stored{}, corrupt("%v", err)
	}
	return stored{state: st, memory: memory}, nil
}

// pack returns a zstd frame of b, or b itself if that is not shorter. An encoder
// is made each time: a snapshot is rare, and one kept for it would not be.
func pack(b []byte) ([]byte, error) {
	if len(b) < packedFrom {
		return b, nil
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, err
	}
	out := enc.EncodeAll(b, nil)
	if err := enc.Close(); err != nil {
		return nil, err
	}
	if len(out) >= len(b) {
		return b, nil
	}
	return out, nil
}

func unpack(frame []byte, size int) ([]byte, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxStateBytes))
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	out, err := dec.DecodeAll(frame, nil)
	if err == nil && len(out) != size {
		err = fmt.Errorf("%d bytes instead of %d", len(out), size)
	}
	return out, err
}
