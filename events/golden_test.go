package events

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The audited schema: testdata/golden has one event of each type as it is written
// today, v<n> below it one of each older version, and SHA256SUMS (for sha256sum -c)
// all of them. A hash that once stood there stays: the bytes of a version never
// change, a new version stands beside them.
const (
	goldenDir  = "testdata/golden"
	goldenSums = "SHA256SUMS"
)

// older has what each golden file of an older version is read as today, by its
// path below the folder.
func older() map[string]Payload {
	letter := sampleOf[MessageDeadLettered]()
	letter.IdempotencyKey, letter.BodyHash, letter.At = "", "", nil
	keyless := letter
	letter.Message.SequenceClass = Normal // of priority high, and once in the one sequence that there was
	before := letter
	before.Inbox = nil
	handled, failed, set := sampleOf[MessageHandled](), sampleOf[MessageFailed](), sampleOf[AgentQuarantined]()
	handled.Message.SequenceClass, failed.Message.SequenceClass, set.Message.SequenceClass = Normal, Normal, Normal
	received := sampleOf[MessageReceived]()
	received.Message.SequenceClass = Normal
	opened, storm := sampleOf[BreakerOpened](), sampleOf[AgentStormDetected]()
	opened.Ancestor, opened.ConversationID = MessageID{}, ""
	storm.Ancestor, storm.Conversations = MessageID{}, storm.Conversations[:1]
	return map[string]Payload{
		"v1/BreakerOpened.json":       opened,
		"v1/AgentStormDetected.json":  storm,
		"v1/AgentFailed.json":         AgentFailed{Reason: "10 crashes in a minute"}, // of no form that was ever written: nothing to be known
		"v1/MessageDeadLettered.json": before,
		"v2/MessageDeadLettered.json": letter,
		"v3/MessageDeadLettered.json": keyless,
		"v1/MessageHandled.json":      handled,
		"v1/MessageFailed.json":       failed,
		"v2/MessageHandled.json":      sampleOf[MessageHandled](),
		"v2/MessageFailed.json":       sampleOf[MessageFailed](),
		"v3/MessageHandled.json":      sampleOf[MessageHandled](),
		"v3/MessageFailed.json":       sampleOf[MessageFailed](),
		"v1/AgentUpdated.json":        sampleOf[AgentUpdated](),
		"v1/AgentRestarted.json":      AgentRestarted{Reason: sampleOf[AgentRestarted]().Reason},
		"v1/AgentQuarantined.json":    set,
		"v1/MessageReceived.json":     received,
	}
}

// sampleOf is the sample of one type.
func sampleOf[P Payload]() P {
	for _, p := range samples() {
		if p, ok := p.(P); ok {
			return p
		}
	}
	panic("no sample")
}

// binaries are the golden files of types that are not JSON.
func binaries() []string { return []string{"ModuleChunk.bin", "SnapshotTaken.bin", "BlobChunk.bin"} }

func goldenOf(t *testing.T, p Payload) []byte {
	t.Helper()
	ev, err := Encode(EventID{1}, p, Metadata{CorrelationID: "conv-1", CausationID: "cause", Actor: "user:ada", Member: "n1", TraceParent: "00-aa-bb-01"})
	if err != nil {
		t.Fatal(err)
	}
	if ev.ID != (EventID{1}) || ev.Type != p.EventType() || ev.ContentType != JSON {
		t.Errorf("%s: %+v", p.EventType(), ev)
	}
	return indent(t, []byte(`{"metadata":`+string(ev.Metadata)+`,"data":`+string(ev.Data)+`}`))
}

// parts takes a golden file apart into an event and its version.
func parts(t *testing.T, typ Type, golden []byte) (Event, int) {
	t.Helper()
	var g struct{ Metadata, Data json.RawMessage }
	if err := json.Unmarshal(golden, &g); err != nil {
		t.Fatalf("golden file of %s: %v", typ, err)
	}
	md, err := DecodeMetadata(g.Metadata)
	if err != nil || md.SchemaVersion < 1 {
		t.Fatalf("golden file of %s: version %d, %v", typ, md.SchemaVersion, err)
	}
	return Event{Type: typ, Data: g.Data, Metadata: g.Metadata}, md.SchemaVersion
}

// golden returns the golden files, by path below the folder.
func golden(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := fs.WalkDir(os.DirFS(goldenDir), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		files[name], err = os.ReadFile(filepath.Join(goldenDir, name))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestGolden holds the JSON of every event type still: logs are read for ever.
//
// After a new type, or a new version of one (SchemaVersion says how), UPDATE_GOLDEN=1
// adds what is new. It changes nothing that was written before.
func TestGolden(t *testing.T) {
	if os.Getenv("UPDATE_GOLDEN") != "" {
		updateGolden(t)
	}
	files := golden(t)
	known := map[string]bool{goldenSums: true, "v1/SnapshotTaken.bin": true, "v2/SnapshotTaken.bin": true} // read by package replay
	for _, name := range binaries() {
		known[name] = true
	}
	for _, p := range samples() {
		name := string(p.EventType()) + ".json"
		for v := 1; v < SchemaVersion(p.EventType()); v++ {
			known[fmt.Sprintf("v%d/%s", v, name)] = true
		}
		known[name] = true
		want, ok := files[name]
		if !ok {
			continue // told below
		}
		if d := cmp.Diff(string(want), string(goldenOf(t, p))); d != "" {
			t.Errorf("%s (-golden +encoded): a change of the JSON needs a new version, see SchemaVersion:\n%s", name, d)
		}
		ev, _ := parts(t, p.EventType(), want)
		back, err := Decode(ev)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(indentContent(t, p), indentContent(t, back)); d != "" {
			t.Errorf("%s read back (-want +got):\n%s", p.EventType(), d)
		}
	}
	for name := range known {
		if _, ok := files[name]; !ok {
			t.Errorf("%s: there is no golden file", name)
		}
	}
	for name := range files {
		if !known[name] {
			t.Errorf("%s: a golden file of no type or version", name)
		}
	}
	if d := cmp.Diff(string(files[goldenSums]), sums(files)); d != "" {
		t.Errorf("%s (-listed +computed): a golden file was changed:\n%s", goldenSums, d)
	}
}

// TestOlderVersionsAreRead reads the golden files of old versions as today's
// payloads.
func TestOlderVersionsAreRead(t *testing.T) {
	want := older()
	for name, b := range golden(t) {
		dir, base := path.Split(name)
		if dir == "" || path.Ext(base) != ".json" {
			continue
		}
		typ := Type(strings.TrimSuffix(base, ".json"))
		ev, version := parts(t, typ, b)
		if dir != fmt.Sprintf("v%d/", version) || version >= SchemaVersion(typ) {
			t.Errorf("%s has version %d", name, version)
		}
		got, err := Decode(ev)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		w, ok := want[name]
		if !ok {
			t.Errorf("%s: older does not say what it reads as", name)
			continue
		}
		if d := cmp.Diff(indentContent(t, w), indentContent(t, got)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		delete(want, name)
	}
	for name := range want {
		t.Errorf("%s: there is no golden file", name)
	}
}

// TestGoldenChunk: a module's part is stored as its bytes and nothing else.
func TestGoldenChunk(t *testing.T) {
	want := golden(t)["ModuleChunk.bin"]
	m := newMemory()
	h, err := StoreModule(t.Context(), m, want)
	if err != nil {
		t.Fatal(err)
	}
	got := m.streams[ModuleStream(h)]
	if len(got) != 2 || got[1].Type != TypeModuleChunk || got[1].ContentType != Binary || !bytes.Equal(got[1].Data, want) || len(got[1].Metadata) != 0 {
		t.Errorf("stored as %+v", got)
	}
}

// TestGoldenBlobChunk: a part of a message's content is stored as its bytes.
func TestGoldenBlobChunk(t *testing.T) {
	want := golden(t)["BlobChunk.bin"]
	m := newMemory()
	h, err := StoreBlob(t.Context(), m, want)
	if err != nil {
		t.Fatal(err)
	}
	got := m.streams[BlobStream(h)]
	if len(got) != 2 || got[1].Type != TypeBlobChunk || got[1].ContentType != Binary || !bytes.Equal(got[1].Data, want) || len(got[1].Metadata) != 0 {
		t.Errorf("stored as %+v", got)
	}
}

// sums is what sha256sum prints for the files, sorted by path.
func sums(files map[string][]byte) string {
	var lines []string
	for name, b := range files {
		if name != goldenSums {
			lines = append(lines, fmt.Sprintf("%x  %s\n", sha256.Sum256(b), name))
		}
	}
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[64:], b[64:]) })
	return strings.Join(lines, "")
}

// updateGolden adds golden files of new types, moves those whose type has a new
// version aside, and lists all. What was listed once must be there still.
func updateGolden(t *testing.T) {
	t.Helper()
	files := golden(t)
	listed := string(files[goldenSums])
	write := func(name string, b []byte) {
		file := filepath.Join(goldenDir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
		files[name] = b
	}
	for _, p := range samples() {
		typ := p.EventType()
		name := string(typ) + ".json"
		have, ok := files[name]
		if ok {
			_, version := parts(t, typ, have)
			if version == SchemaVersion(typ) {
				continue // as it is, right or wrong
			}
			write(fmt.Sprintf("v%d/%s", version, name), have)
		}
		write(name, goldenOf(t, p))
	}
	now := sums(files)
	for line := range strings.Lines(listed) {
		if !keeps(now, line) {
			t.Fatalf("golden file changed or gone: %s", line)
		}
	}
	write(goldenSums, []byte(now))
}

// keeps reports whether a listed file is listed still, where it was or as an older
// version of its type.
func keeps(now, listed string) bool {
	for line := range strings.Lines(now) {
		if line[:64] == listed[:64] && path.Base(line[66:]) == path.Base(listed[66:]) {
			return true
		}
	}
	return false
}
