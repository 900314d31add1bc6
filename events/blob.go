package events

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
)

// MaxContentCeiling is the most that messaging.max_message_bytes may allow: 8 MiB,
// which a guest of ordinary size still has memory for, several times over.
const MaxContentCeiling = 8 << 20

// BlobHash is the SHA-256 of a blob's bytes, in lower-case hex (64 characters).
type BlobHash string

// BlobRef stands in an event for content of more than MaxMessageContent bytes, which
// is stored in the stream blob-<sha256> before the event is.
type BlobRef struct {
	Hash BlobHash `json:"sha256"`
	Size int      `json:"size"` // bytes
	JSON bool     `json:"json"` // it is a message's content; else its content_base64
}

// HashBlob returns the hash of a blob.
func HashBlob(b []byte) BlobHash {
	sum := sha256.Sum256(b)
	return BlobHash(hex.EncodeToString(sum[:]))
}

// blobNamespace is the UUIDv5 name space of the events that store a blob: whoever
// stores the same bytes makes the same events.
var blobNamespace = uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://caxton.run/ns/blob"))

// StoreBlob writes bytes to blob-<sha256>, in chunks, unless they are there. It may be
// repeated after any failure, and run by several callers at once.
func StoreBlob(ctx context.Context, s Store, b []byte) (BlobHash, error) {
	h := HashBlob(b)
	chunks := (len(b) + ModuleChunkBytes - 1) / ModuleChunkBytes
	id := func(i int) EventID { return EventID(uuid.NewSHA1(blobNamespace, fmt.Appendf(nil, "%s/%d", h, i))) }
	head, err := Encode(id(0), BlobStored{Blob: h, Size: len(b), Chunks: chunks}, Metadata{})
	if err != nil {
		return "", err
	}
	expected := NoStream()
	for i := range chunks + 1 {
		ev := head
		if i > 0 {
			part := b[(i-1)*ModuleChunkBytes:]
			ev = Event{ID: id(i), Type: TypeBlobChunk, ContentType: Binary, Data: part[:min(len(part), ModuleChunkBytes)]}
		}
		if err := appendKnown(ctx, s, BlobStream(h), expected, ev); err != nil {
			return "", fmt.Errorf("store blob %s, event %d: %w", h, i, err)
		}
		expected = Exact(Revision(i))
	}
	return h, nil
}

// appendKnown repeats an append until its outcome is known.
func appendKnown(ctx context.Context, s Store, stream Stream, expected ExpectedRevision, ev Event) error {
	for {
		_, err := s.Append(ctx, stream, expected, ev)
		if !errors.Is(err, ErrUnknownOutcome) || ctx.Err() != nil {
			return err
		}
	}
}

// LoadBlob reads a blob back and checks its hash. Errors: *CorruptError, for one that
// was never stored too: nothing refers to a blob before it is there.
func LoadBlob(ctx context.Context, s Store, ref BlobRef) ([]byte, error) {
	if ref.Size < 0 || ref.Size > MaxContentCeiling {
		return nil, &CorruptError{Where: "reference to blob " + string(ref.Hash), Reason: fmt.Sprintf("%d bytes", ref.Size)}
	}
	buf := bytes.NewBuffer(make([]byte, 0, ref.Size))
	for rec, err := range s.ReadStream(ctx, BlobStream(ref.Hash), ReadStreamOptions{}) {
		if errors.Is(err, ErrStreamNotFound) {
			return nil, &CorruptError{Where: string(BlobStream(ref.Hash)), Reason: "is missing"}
		}
		if err != nil {
			return nil, fmt.Errorf("load blob %s: %w", ref.Hash, err)
		}
		if rec.Type == TypeBlobChunk {
			buf.Write(rec.Data)
		}
		if buf.Len() > ref.Size {
			break
		}
	}
	if buf.Len() != ref.Size || HashBlob(buf.Bytes()) != ref.Hash {
		return nil, &CorruptError{Where: string(BlobStream(ref.Hash)), Reason: "bytes do not have the size and hash they are referred to by"}
	}
	return buf.Bytes(), nil
}

// StoreContent moves a message's content into a blob if it is too large for an
// event, white space between its tokens aside. What stays behind is durable before whoever refers to it is.
func StoreContent(ctx context.Context, s Store, m *Message) error {
	return StoreContentIf(ctx, s, m, nil)
}

// StoreContentIf is StoreContent which, before it writes what the log has not got
// already, asks admit, unless that is nil, and returns its error.
func StoreContentIf(ctx context.Context, s Store, m *Message, admit func() error) error {
	b, isJSON, err := m.bulk()
	if b == nil || err != nil {
		return err
	}
	if admit != nil {
		there, err := hasBlob(ctx, s, HashBlob(b))
		if err != nil {
			return err
		}
		if !there {
			if err := admit(); err != nil {
				return err
			}
		}
	}
	h, err := StoreBlob(ctx, s, b)
	if err != nil {
		return err
	}
	m.Content, m.ContentBase64, m.Blob = nil, nil, &BlobRef{Hash: h, Size: len(b), JSON: isJSON}
	return nil
}

// bulk returns the content that is to stand in a blob; nil when it fits an event, as
// which JSON is kept that does without its white space.
func (m *Message) bulk() (b []byte, isJSON bool, err error) {
	if m.ContentSize() <= MaxMessageContent {
		return nil, false, nil
	}
	if len(m.Content) == 0 {
		return m.ContentBase64, false, nil
	}
	var tight bytes.Buffer // as an event would keep it
	if err := json.Compact(&tight, m.Content); err != nil {
		return nil, true, Invalid("content", "must be JSON")
	}
	if tight.Len() <= MaxMessageContent {
		m.Content = tight.Bytes()
		return nil, true, nil
	}
	return tight.Bytes(), true, nil
}

// hasBlob reports whether a blob was begun at least: what it lacks is then no new one.
func hasBlob(ctx context.Context, s Store, h BlobHash) (bool, error) {
	for _, err := range s.ReadStream(ctx, BlobStream(h), ReadStreamOptions{Max: 1}) {
		if err != nil && !errors.Is(err, ErrStreamNotFound) {
			return false, fmt.Errorf("look for blob %s: %w", h, err)
		}
		return err == nil, nil
	}
	return false, nil
}

// WithContent returns the message with its content in place, as it reaches whom it is
// for. Errors are those of LoadBlob.
func WithContent(ctx context.Context, s Store, m Message) (Message, error) {
	if m.Blob == nil {
		return m, nil
	}
	b, err := LoadBlob(ctx, s, *m.Blob)
	if err != nil {
		return Message{}, err
	}
	if m.Blob.JSON {
		m.Content = b
	} else {
		m.ContentBase64 = b
	}
	m.Blob = nil
	return m, nil
}
