package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// event is one section of the page.
type event struct {
	name    string
	prose   []string          // paragraphs
	parts   map[string]string // by the labels below
	fields  []field           // none for types without JSON
	version int
	example string // data as written today: JSON, or a dump of bytes
	older   []past // versions before, newest first
}

// past is a version that is no longer written.
type past struct {
	version int
	was     string // what it was like
	example string
}

// label is an item of an event's comment.
type label struct{ name, title string }

// labels are the items that the comment of each event has, in this order.
func labels() []label {
	return []label{
		{"Stream", "stream"}, {"When", "written when"}, {"By", "written by"},
		{"Agent", "agent's state"}, {"Projections", "projections"},
	}
}

func isLabel(name string) bool {
	return slices.ContainsFunc(labels(), func(l label) bool { return l.name == name })
}

// files are the sources of events, in the order of the page.
func files() []string {
	return []string{"payloads_agent.go", "payloads_stop.go", "payloads_update.go", "payloads_turn.go", "payloads_crash.go", "payloads_retry.go", "payloads_timer.go", "payloads_capability.go", "payloads_conversation.go", "payloads_inbox.go", "payloads_history.go", "payloads_breaker.go", "payloads_storm.go", "payloads_emergency.go", "payloads_cluster.go", "payloads_module.go", "payloads_blob.go"}
}

// events returns all event types in the order of the page.
func (s *source) events(pkg fs.FS) ([]event, error) {
	for _, m := range []map[string][]string{s.payloads, s.binary} {
		for file := range m {
			if !slices.Contains(files(), file) {
				return nil, fmt.Errorf("%s: has events, and no place in the page", file)
			}
		}
	}
	var list []event
	for _, file := range files() {
		for _, name := range append(slices.Clone(s.payloads[file]), s.binary[file]...) {
			e, err := s.event(pkg, name, slices.Contains(s.binary[file], name))
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", file, name, err)
			}
			list = append(list, e)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no events")
	}
	return list, nil
}

func (s *source) event(pkg fs.FS, name string, binary bool) (event, error) {
	e := event{name: name, fields: s.structs[name], version: 1}
	was, err := e.read(s.docs[name])
	if err != nil {
		return e, err
	}
	if binary {
		e.prose[0] = strings.TrimPrefix(e.prose[0], "Type") // the constant's name is longer by that
		b, err := fs.ReadFile(pkg, "testdata/golden/"+name+".bin")
		if err != nil {
			return e, err
		}
		e.example = dump(b)
		return e, nil
	}
	now, err := readGolden(pkg, name+".json")
	if err != nil {
		return e, err
	}
	e.version, e.example, s.metadata = now.version, now.data, now.metadata
	for v := e.version - 1; v > 0; v-- {
		old := past{version: v, was: was[v]}
		if old.was == "" {
			return e, fmt.Errorf("its comment has no item Version %d", v)
		}
		delete(was, v)
		then, err := readGolden(pkg, fmt.Sprintf("v%d/%s.json", v, name))
		if err != nil {
			return e, err
		}
		if then.version != v {
			return e, fmt.Errorf("golden file in v%d is of version %d", v, then.version)
		}
		old.example = then.data
		e.older = append(e.older, old)
	}
	for v := range was {
		return e, fmt.Errorf("its comment tells of a version %d before %d", v, e.version)
	}
	return e, nil
}

// read takes an event's comment apart. It returns what versions were like.
func (e *event) read(doc string) (was map[int]string, err error) {
	item := regexp.MustCompile(`^(Version [1-9][0-9]*|[A-Z][a-z]+): (.+)$`)
	e.parts, was = map[string]string{}, map[int]string{}
	prose, list, _ := strings.Cut(doc, "\n  - ")
	for _, p := range strings.Split(prose, "\n\n") {
		if p = line(p); p != "" {
			e.prose = append(e.prose, p)
		}
	}
	if len(e.prose) == 0 {
		return nil, fmt.Errorf("has no comment")
	}
	for _, text := range strings.Split(list, "\n  - ") {
		m := item.FindStringSubmatch(line(text))
		switch {
		case m == nil:
			return nil, fmt.Errorf("the item %.40q of its comment has no label", text)
		case isLabel(m[1]):
			e.parts[m[1]] = m[2]
		case strings.HasPrefix(m[1], "Version "):
			v, err := strconv.Atoi(m[1][len("Version "):])
			if err != nil {
				return nil, err
			}
			was[v] = m[2]
		default:
			return nil, fmt.Errorf("the label %q of its comment is not known", m[1])
		}
	}
	for _, l := range labels() {
		if e.parts[l.name] == "" {
			return nil, fmt.Errorf("its comment has no item %s", l.name)
		}
	}
	return was, nil
}

// streams returns the forms of the names of the event's streams, e.g. agent-<uuid>:
// the one that the item Stream begins with, and another that is added to it.
func (e *event) streams() []string {
	const form = `[a-z]+-<[a-z0-9]+>`
	all := regexp.MustCompile(`^` + form + `(, and ` + form + `)?`).FindString(e.parts["Stream"])
	return regexp.MustCompile(form).FindAllString(all, -1)
}

// golden is a golden file of a type with JSON, indented.
type golden struct {
	version        int
	metadata, data string
}

func readGolden(pkg fs.FS, name string) (golden, error) {
	b, err := fs.ReadFile(pkg, "testdata/golden/"+name)
	if err != nil {
		return golden{}, err
	}
	var file struct{ Metadata, Data json.RawMessage }
	var md struct{ SchemaVersion int }
	var metadata, data bytes.Buffer
	for _, step := range []func() error{
		func() error { return json.Unmarshal(b, &file) },
		func() error { return json.Unmarshal(file.Metadata, &md) },
		func() error { return json.Indent(&metadata, file.Metadata, "", "  ") },
		func() error { return json.Indent(&data, file.Data, "", "  ") },
	} {
		if err := step(); err != nil {
			return golden{}, fmt.Errorf("golden file %s: %w", name, err)
		}
	}
	if md.SchemaVersion < 1 {
		return golden{}, fmt.Errorf("golden file %s has no version", name)
	}
	return golden{md.SchemaVersion, metadata.String(), data.String()}, nil
}
