package events

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
)

// moduleNamespace is the UUIDv5 name space of the events that store a module:
// whoever stores the same module makes the same events.
var moduleNamespace = uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://caxton.run/ns/module"))

// WarnReplayOnly begins the warning of a module whose agents have no snapshots: more
// of its state changes than memory and globals. Readers of the log know it by these
// words.
const WarnReplayOnly = "is rebuilt by replay only"

// StoreModule writes a module's bytes to module-<sha256>, in chunks, unless they
// are there. It may be repeated after any failure, and run by several callers at
// once: all write the same events at the same places.
func StoreModule(ctx context.Context, s Store, wasm []byte) (ModuleHash, error) {
	h := HashModule(wasm)
	chunks := (len(wasm) + ModuleChunkBytes - 1) / ModuleChunkBytes
	head, err := Encode(moduleEventID(h, 0), ModuleUploaded{Module: h, Size: len(wasm), Chunks: chunks}, Metadata{})
	if err != nil {
		return "", err
	}
	expected := NoStream()
	for i := range chunks + 1 {
		ev := head
		if i > 0 {
			part := wasm[(i-1)*ModuleChunkBytes:]
			ev = Event{
				ID: moduleEventID(h, i), Type: TypeModuleChunk, ContentType: Binary,
				Data: part[:min(len(part), ModuleChunkBytes)],
			}
		}
		if _, err := s.Append(ctx, ModuleStream(h), expected, ev); err != nil {
			return "", fmt.Errorf("store module %s, event %d: %w", h, i, err)
		}
		expected = Exact(Revision(i))
	}
	return h, nil
}

func moduleEventID(h ModuleHash, index int) EventID {
	return EventID(uuid.NewSHA1(moduleNamespace, fmt.Appendf(nil, "%s/%d", h, index)))
}

// LoadModule reads a module back and checks its hash. Errors: ErrModuleNotFound
// (never stored, or not to its end); *CorruptError.
func LoadModule(ctx context.Context, s Store, h ModuleHash) ([]byte, error) {
	var up ModuleUploaded
	var buf bytes.Buffer
	for rec, err := range s.ReadStream(ctx, ModuleStream(h), ReadStreamOptions{}) {
		if errors.Is(err, ErrStreamNotFound) {
			return nil, fmt.Errorf("load module %s: %w", h, ErrModuleNotFound)
		}
		if err != nil {
			return nil, fmt.Errorf("load module %s: %w", h, err)
		}
		if rec.Type == TypeModuleChunk {
			buf.Write(rec.Data)
			continue
		}
		p, err := Decode(rec.Event)
		if err != nil {
			return nil, fmt.Errorf("load module %s: %w", h, err)
		}
		up, _ = p.(ModuleUploaded)
	}
	switch {
	case buf.Len() < up.Size:
		return nil, fmt.Errorf("load module %s: %d of %d bytes stored: %w", h, buf.Len(), up.Size, ErrModuleNotFound)
	case HashModule(buf.Bytes()) != h:
		return nil, &CorruptError{Where: string(ModuleStream(h)), Reason: "bytes do not have the hash they are stored under"}
	}
	return buf.Bytes(), nil
}
