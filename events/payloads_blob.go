package events

// BlobStored announces content that is too large for an event: how long it is and in
// how many parts it follows. It is whole once its bytes have the hash in the stream's
// name.
//
//   - Stream: blob-<sha256>, revision 0.
//   - When: a message with content of more than 256 KiB is accepted or sent, before the
//     event of the message, which has its hash, size and form as blob.
//   - By: the gateway, or the agent's actor. The event's id is derived from the hash, so
//     whoever stores the same bytes writes the same event.
//   - Agent: nothing; the message gets its content back before it is run, and in a
//     replay.
//   - Projections: nothing.
type BlobStored struct {
	// SHA-256 of the bytes, lower-case hex: the stream's name.
	Blob BlobHash `json:"sha256"`
	// In bytes.
	Size int `json:"size"`
	// BlobChunk events that follow.
	Chunks int `json:"chunks"`
}

// EventType implements Payload.
func (BlobStored) EventType() Type { return "BlobStored" }

// TypeBlobChunk is a part of a blob. Its data are these bytes and nothing else:
// 524,288 in every chunk but the last, which has what is left. It has no version byte
// and no metadata; what it may be is settled by the hash in the stream's name.
//
//   - Stream: blob-<sha256>, revisions 1 to the number of chunks, in order.
//   - When: after BlobStored.
//   - By: as BlobStored. The event's id is derived from hash and number.
//   - Agent: nothing.
//   - Projections: nothing.
const TypeBlobChunk Type = "BlobChunk"
