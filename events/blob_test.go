package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestContentInABlob(t *testing.T) {
	m := newMemory()
	bulky := strings.Repeat("x", MaxMessageContent)
	for name, c := range map[string]struct {
		in     Message
		inBlob bool
		json   bool
	}{
		"small":                {Message{Content: json.RawMessage(`{"a": 1}`)}, false, false},
		"as large as an event": {Message{Content: json.RawMessage(`"` + bulky[2:] + `"`)}, false, false},
		"JSON":                 {Message{Content: json.RawMessage(`[1, "` + bulky + `"]`)}, true, true},
		"bytes":                {Message{ContentBase64: append([]byte(bulky), 0xff)}, true, false},
		"mostly space":         {Message{Content: json.RawMessage(`[1,` + strings.Repeat(" ", MaxMessageContent) + `2]`)}, false, false},
	} {
		got := c.in
		if err := StoreContent(t.Context(), m, &got); err != nil {
			t.Fatal(err)
		}
		if (got.Blob != nil) != c.inBlob || got.Blob != nil && (got.ContentSize() != 0 || got.Blob.JSON != c.json) {
			t.Errorf("%s: %d bytes beside %+v", name, got.ContentSize(), got.Blob)
		}
		again := c.in // the same content is stored once
		if err := StoreContent(t.Context(), m, &again); err != nil {
			t.Fatalf("%s, again: %v", name, err)
		}
		back, err := WithContent(t.Context(), m, got)
		if err != nil || back.Blob != nil {
			t.Fatalf("%s: %+v, %v", name, back.Blob, err)
		}
		var want bytes.Buffer
		if len(c.in.Content) > 0 {
			if err := json.Compact(&want, c.in.Content); err != nil {
				t.Fatal(err)
			}
		}
		if c.inBlob && string(back.Content) != want.String() || !bytes.Equal(back.ContentBase64, c.in.ContentBase64) {
			t.Errorf("%s does not come back as it was", name)
		}
	}
}

func TestDamagedBlobs(t *testing.T) {
	m := newMemory()
	content := bytes.Repeat([]byte{1, 2, 3}, ModuleChunkBytes)
	h, err := StoreBlob(t.Context(), m, content)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(m.streams[BlobStream(h)]); n != 4 {
		t.Errorf("%d events, want a head and 3 chunks", n)
	}
	ref := BlobRef{Hash: h, Size: len(content)}
	if got, err := LoadBlob(t.Context(), m, ref); err != nil || !bytes.Equal(got, content) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	for name, bad := range map[string]BlobRef{
		"another size": {Hash: h, Size: len(content) - 1}, "no such blob": {Hash: HashBlob(nil), Size: 1},
		"a size below 0": {Hash: h, Size: -1}, "a size beyond the ceiling": {Hash: h, Size: MaxContentCeiling + 1},
	} {
		if _, err := LoadBlob(t.Context(), m, bad); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v, want a CorruptError", name, err)
		}
	}
	m.streams[BlobStream(h)][2].Data[7] ^= 1
	if _, err := LoadBlob(t.Context(), m, ref); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a flipped bit: %v, want a CorruptError", err)
	}
}
