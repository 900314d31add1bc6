package events

// ModuleUploaded announces a module: how long it is and in how many parts it
// follows. The module is whole once its bytes have the hash in the stream's name.
//
//   - Stream: module-<sha256>, revision 0.
//   - When: the first deployment brings the module.
//   - By: the gateway. The event's id is derived from the hash, so whoever stores the
//     same module writes the same event.
//   - Agent: nothing; agents name the module by its hash.
//   - Projections: nothing.
type ModuleUploaded struct {
	// SHA-256 of the module, lower-case hex: the stream's name.
	Module ModuleHash `json:"module_sha256"`
	// Of the module, in bytes.
	Size int `json:"size"`
	// ModuleChunk events that follow.
	Chunks int `json:"chunks"`
}

// EventType implements Payload.
func (ModuleUploaded) EventType() Type { return "ModuleUploaded" }

// ModuleChunkBytes is the size of all chunks of a module but the last: half an
// append, so that any chunk fits one with room.
const ModuleChunkBytes = 512 << 10

// TypeModuleChunk is a part of a module's bytes. Its data are these bytes and
// nothing else: 524,288 in every chunk but the last, which has what is left. It has
// no version byte and no metadata; what it may be is settled by the hash in the
// stream's name.
//
//   - Stream: module-<sha256>, revisions 1 to the number of chunks, in order.
//   - When: after ModuleUploaded; a store that stops half-way is gone on with by the
//     next deployment of the module.
//   - By: the gateway. The event's id is derived from hash and number.
//   - Agent: nothing.
//   - Projections: nothing.
const TypeModuleChunk Type = "ModuleChunk"

// TypeSnapshotTaken is an agent's state and its guest's memory at a revision. It
// makes waking quicker and is never needed: without it the agent is replayed from
// further back.
//
// A snapshot that does not fit one event is several, in order and with nothing
// between them. The data of each, with numbers big-endian, are: version (1 byte, now
// 3), index of the part (2 bytes, from 0), number of parts (2 bytes, at most 64),
// SHA-256 of all parts joined (32 bytes), the part: 983,040 bytes in every one but the
// last. Joined they are: length of the state, length as it stands here (uvarints), the
// state, the guest's memory to the end. The state is a zstd frame of what
// actors/agent writes, or that itself where the two lengths are equal. The memory has a
// version byte of its own and is a compressed difference to what the module's
// initialisation left; it is empty for an agent without a guest.
//
// Versions 1 and 2 were one event each: version, length of the state (4 bytes), the
// state as JSON, the memory. They are read; version 1 has neither timers nor
// capabilities. A snapshot that is not whole, or whose version or content does not
// read, is passed over for an older one.
//
//   - Stream: snapshot-<uuid>, and base-<uuid> for a copy of the one that stands for
//     what was removed of the agent's history: see HistoryTrimmed.
//   - When: what followed the last one would take a wake more than 5 ms to replay, or is
//     1,000 events (runtime.snapshot_every); at hibernation a tenth of either; always at a
//     committed revision. One of n events comes n times as rarely, and one of more than 64
//     not at all.
//   - By: the agent's actor, whatever revision the stream is at.
//   - Agent: nothing is folded; the state in it is what folding up to its revision gives.
//   - Projections: nothing.
const TypeSnapshotTaken Type = "SnapshotTaken"
