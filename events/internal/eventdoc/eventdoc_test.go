package main

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const root = "../../.."

// TestPageIsWhatTheSourcesGive holds docs/events.md to the comments and golden
// files.
func TestPageIsWhatTheSourcesGive(t *testing.T) {
	want, err := generate(os.DirFS(filepath.Join(root, "events")))
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(page)))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(got), string(want)); d != "" {
		t.Errorf("%s is out of date, run go generate ./events (-page +generated):\n%s", page, d)
	}
}

// TestLinksOfThePageLead: each link within the page has its heading.
func TestLinksOfThePageLead(t *testing.T) {
	b, err := generate(os.DirFS(filepath.Join(root, "events")))
	if err != nil {
		t.Fatal(err)
	}
	heads := map[string]bool{}
	for l := range strings.Lines(string(b)) {
		if h, ok := strings.CutPrefix(l, "### "); ok {
			heads[strings.ToLower(strings.TrimSpace(h))] = true
		}
	}
	links := 0
	for _, part := range strings.Split(string(b), "](#")[1:] {
		to, _, _ := strings.Cut(part, ")")
		if links++; !heads[to] {
			t.Errorf("a link leads to #%s, which there is not", to)
		}
	}
	if links < 50 {
		t.Errorf("only %d links: the page is not whole", links)
	}
}

// TestEachCategoryIsOnThePage: the table of streams has all that are written.
func TestEachCategoryIsOnThePage(t *testing.T) {
	source, err := os.ReadFile(filepath.Join(root, "events", "stream.go"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := generate(os.DirFS(filepath.Join(root, "events")))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`\bCategory[A-Z]\w*\s+Category = "(\w+)"`).FindAllSubmatch(source, -1)
	if len(found) < 9 {
		t.Errorf("only %d categories", len(found))
	}
	for _, c := range found {
		if !strings.Contains(string(b), "\n| `"+string(c[1])+"-<") {
			t.Errorf("no row for streams %s-<…>", c[1])
		}
	}
}

// small is a package of one event, and all that the page has beside it.
func small() fstest.MapFS {
	const event = "package events\n" +
		"// Painted is paint. With <angles> and a_name.\n//\n//   - Stream: agent-<uuid>, often.\n//   - When: now.\n//   - By: me.\n" +
		"//   - Agent: shines.\n//   - Projections: too.\n//   - Version 1: was | grey.\n" +
		"type Painted struct {\n// max_hue64 or less. Absent when none.\nColour string `json:\"colour,omitempty\"`\n}\n" +
		"// EventType implements Payload.\nfunc (Painted) EventType() Type { return \"Painted\" }\n" +
		"// TypeBlob is bytes.\n//\n//   - Stream: blob-<sha256>.\n//   - When: now.\n//   - By: me.\n//   - Agent: no.\n//   - Projections: no.\nconst TypeBlob Type = \"Blob\"\n" +
		"// AgentStream is one agent.\nfunc AgentStream() {}\n// BlobStream holds blobs.\nfunc BlobStream() {}\n"
	var rest strings.Builder
	rest.WriteString("package events\n")
	for _, name := range shapes() {
		rest.WriteString("// " + name + " is one.\ntype " + name + " struct {\nX int `json:\"x\"` // some\n}\n")
	}
	for _, name := range sets() {
		rest.WriteString("// " + name + " is one.\ntype " + name + " string\nconst A" + name + " " + name + " = \"a\" // some\n")
	}
	return fstest.MapFS{
		"payloads_agent.go":               {Data: []byte(event)},
		"shapes.go":                       {Data: []byte(rest.String())},
		"broken_test.go":                  {Data: []byte("not Go, and not read")},
		"testdata/golden/Painted.json":    {Data: []byte(`{"metadata":{"schemaVersion":2},"data":{"colour":"red"}}`)},
		"testdata/golden/v1/Painted.json": {Data: []byte(`{"metadata":{"schemaVersion":1},"data":{"colour":"grey"}}`)},
		"testdata/golden/Blob.bin":        {Data: bytes.Repeat([]byte{7}, 1000)},
	}
}

func TestSection(t *testing.T) {
	b, err := generate(small())
	if err != nil {
		t.Fatal(err)
	}
	_, got, _ := strings.Cut(string(b), "\n### Painted\n")
	got, _, _ = strings.Cut(got, "\n### Blob")
	const want = "\n`Painted` is paint. With \\<angles> and `a_name`.\n\n| | |\n|---|---|\n" +
		"| **stream** | `agent-<uuid>`, often. |\n| **written when** | now. |\n| **written by** | me. |\n" +
		"| **agent's state** | shines. |\n| **projections** | too. |\n| **version** | 2 |\n\n" +
		"| field | JSON | meaning |\n|---|---|---|\n| `colour` | string, optional | `max_hue64` or less. Absent when none |\n\n" +
		"```json\n{\n  \"colour\": \"red\"\n}\n```\n\n**Version 1** was \\| grey.\n\n```json\n{\n  \"colour\": \"grey\"\n}\n```\n"
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("section (-want +got):\n%s", d)
	}
	for _, part := range []string{
		"| `agent-<uuid>` | one agent | [`Painted`](#painted) |\n", "| `blob-<sha256>` | blobs | [`Blob`](#blob) |\n",
		"| [`Painted`](#painted) | 2 | is paint |\n", "00000030  07",
	} {
		if !strings.Contains(string(b), part) {
			t.Errorf("the page lacks %q", part)
		}
	}
	if strings.Contains(string(b), "00000040") {
		t.Error("all of the bytes are shown")
	}
}

// TestGapsAreErrors: what an event lacks is named, not left out.
func TestGapsAreErrors(t *testing.T) {
	for _, c := range []struct{ name, file, old, new, want string }{
		{"no item", "payloads_agent.go", "//   - When: now.\n", "", "Painted: its comment has no item When"},
		{"an unknown item", "payloads_agent.go", "- By: me", "- Bye: me", `the label "Bye"`},
		{"an item without a label", "payloads_agent.go", "- By: me", "- by me", "has no label"},
		{"no comment", "payloads_agent.go", "// Painted is paint. With <angles> and a_name.\n//\n", "", "Painted"},
		{"a field without a comment", "payloads_agent.go", "// max_hue64 or less. Absent when none.\n", "", "Painted.colour has no comment"},
		{"a field without a JSON name", "payloads_agent.go", `json:"colour,omitempty"`, `json:",omitempty"`, "Painted.Colour has no JSON name"},
		{"a field of a strange type", "payloads_agent.go", "Colour string", "Colour chan int", "Painted.Colour: type *ast.ChanType"},
		{"a stream without a form", "payloads_agent.go", "agent-<uuid>, often", "many", "the item Stream"},
		{"a stream without a function", "payloads_agent.go", "func AgentStream", "func OtherStream", "agent-<uuid>: no function"},
		{"a field said twice", "shapes.go", "X int `json:\"x\"` // some", "ID int `json:\"id\"` // some", "Message.id has a comment and an entry"},
		{"a shape that is gone", "shapes.go", "type LogLine struct", "type Line struct", "LogLine: there is no such struct"},
		{"a set that is gone", "shapes.go", "const APriority Priority", "const APriority string", "Priority: it has no values"},
		{"not Go", "shapes.go", "package events", "pakkage", "shapes.go:1"},
		{"no version in the golden file", "testdata/golden/Painted.json", "schemaVersion", "other", "Painted.json has no version"},
		{"a golden file that is no JSON", "testdata/golden/Painted.json", "{", "", "Painted.json"},
		{"an old version without a word", "payloads_agent.go", "//   - Version 1: was | grey.\n", "", "its comment has no item Version 1"},
		{"a word of no version", "testdata/golden/Painted.json", ":2", ":1", "tells of a version 1 before 1"},
		{"an old version of another number", "testdata/golden/v1/Painted.json", ":1", ":2", "golden file in v1 is of version 2"},
	} {
		pkg := small()
		before := string(pkg[c.file].Data)
		after := strings.ReplaceAll(before, c.old, c.new)
		if before == after {
			t.Fatalf("%s: %q does not stand in %s", c.name, c.old, c.file)
		}
		pkg[c.file] = &fstest.MapFile{Data: []byte(after)}
		if b, err := generate(pkg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q; %d bytes", c.name, err, c.want, len(b))
		}
	}
	for name := range maps.Keys(small()) {
		if !strings.HasPrefix(name, "testdata/") {
			continue
		}
		pkg := small()
		delete(pkg, name)
		if _, err := generate(pkg); err == nil || !strings.Contains(err.Error(), filepath.Base(name)) {
			t.Errorf("without %s: %v", name, err)
		}
	}
	pkg := small()
	pkg["payloads_new.go"], pkg["payloads_agent.go"] = pkg["payloads_agent.go"], &fstest.MapFile{Data: []byte("package events\n")}
	if _, err := generate(pkg); err == nil || !strings.Contains(err.Error(), "payloads_new.go") {
		t.Errorf("a file without a place: %v", err)
	}
	if _, err := generate(fstest.MapFS{}); err == nil {
		t.Error("a page without events")
	}
}

// FuzzComment: any comment is taken apart or refused, and what is taken has all
// that a section needs.
func FuzzComment(f *testing.F) {
	f.Add("X is x.\n\n  - Stream: agent-<uuid>.\n  - When: w.\n  - By: b.\n  - Agent: a.\n  - Projections: p.\n  - Version 1: old.\n")
	f.Add("X.\n  - \n  - Version 99999999999999999999: x")
	f.Add("")
	f.Fuzz(func(t *testing.T, doc string) {
		e := event{name: "X"}
		was, err := e.read(doc)
		if err != nil {
			return
		}
		for _, l := range labels() {
			if e.parts[l.name] == "" {
				t.Errorf("%q has no %s", doc, l.name)
			}
		}
		for v := range was {
			if v < 1 {
				t.Errorf("%q has a version %d", doc, v)
			}
		}
		if len(e.prose) == 0 || len(e.parts) != len(labels()) {
			t.Errorf("%q is taken apart as %+v", doc, e)
		}
	})
}
