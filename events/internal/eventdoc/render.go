package main

import (
	"bytes"
	_ "embed"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// intro is the head of the page.
//
//go:embed intro.md
var intro string

// writer writes the page. Its first error stays.
type writer struct {
	bytes.Buffer
	src   *source
	names *regexp.Regexp // what stands as code in prose
	known []string       // event types
	err   error
}

func render(src *source, list []event) ([]byte, error) {
	w := &writer{src: src}
	for _, e := range list {
		w.known = append(w.known, e.name)
	}
	w.names = regexp.MustCompile(`[a-z]+-<[a-z0-9]+>|\b[a-z][a-z.]*_[a-z0-9_.]*[a-z0-9]|\b(?:` + strings.Join(w.known, "|") + `)\b`)
	w.WriteString(intro)
	w.streams(list)
	w.index(list)
	for _, e := range list {
		w.event(e)
	}
	w.WriteString("\n## What events are made of\n")
	for _, name := range shapes() {
		w.shape(name)
	}
	for _, name := range sets() {
		w.set(name)
	}
	return w.Bytes(), w.err
}

func (w *writer) fail(where string, err error) {
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("%s: %w", where, err)
	}
}

func (w *writer) printf(format string, args ...any) { fmt.Fprintf(w, format, args...) }

// streams writes the table of streams with their events.
func (w *writer) streams(list []event) {
	w.WriteString("\n## Streams\n\n| stream | holds | events |\n|---|---|---|\n")
	var order []string
	in := map[string][]string{}
	for _, e := range list {
		names := e.streams()
		if len(names) == 0 {
			w.fail(e.name, fmt.Errorf("the item Stream does not begin with the form of a stream's name"))
			return
		}
		for _, s := range names {
			if in[s] == nil {
				order = append(order, s)
			}
			in[s] = append(in[s], link(e.name))
		}
	}
	for _, s := range order {
		category, _, _ := strings.Cut(s, "-")
		doc := w.src.docs[strings.ToUpper(category[:1])+category[1:]+"Stream"]
		_, what, ok := strings.Cut(line(doc), " ")
		if !ok {
			w.fail(s, fmt.Errorf("no function of the package makes its name"))
		}
		what = strings.TrimPrefix(strings.TrimPrefix(what, "is "), "holds ")
		w.printf("| `%s` | %s | %s |\n", s, w.text(strings.TrimSuffix(what, "."), ""), strings.Join(in[s], ", "))
	}
}

// index writes the table of events.
func (w *writer) index(list []event) {
	w.WriteString("\n## Events\n\n| event | version | says |\n|---|---|---|\n")
	for _, e := range list {
		says := strings.TrimPrefix(sentence(e.prose[0]), e.name+" ")
		w.printf("| %s | %d | %s |\n", link(e.name), e.version, w.text(says, e.name))
	}
}

func (w *writer) event(e event) {
	w.printf("\n### %s\n", e.name)
	for _, p := range e.prose {
		w.printf("\n%s\n", w.text(p, e.name))
	}
	w.WriteString("\n| | |\n|---|---|\n")
	for _, l := range labels() {
		w.printf("| **%s** | %s |\n", l.title, w.text(e.parts[l.name], e.name))
	}
	w.printf("| **version** | %d |\n", e.version)
	switch {
	case strings.HasPrefix(e.example, "00000000 "):
		w.printf("\nAn example, the first bytes:\n\n```text\n%s```\n", e.example)
		return
	case len(e.fields) == 0:
		w.WriteString("\nIts data are an object without fields, `{}`.\n")
		return
	}
	w.fields(e.name, e.fields)
	w.printf("\n```json\n%s\n```\n", e.example)
	for _, o := range e.older {
		w.printf("\n**Version %d** %s\n\n```json\n%s\n```\n", o.version, w.text(o.was, e.name), o.example)
	}
}

func (w *writer) fields(of string, fields []field) {
	w.WriteString("\n| field | JSON | meaning |\n|---|---|---|\n")
	for _, f := range fields {
		typ, err := jsonType(f.typ)
		w.fail(of+"."+f.goName, err)
		if f.optional {
			typ += ", optional"
		}
		says, err := meaning(of, f.name, f.meaning)
		w.fail(of, err)
		w.printf("| `%s` | %s | %s |\n", f.name, typ, w.text(upper(strings.TrimSuffix(says, ".")), of))
	}
}

func (w *writer) shape(name string) {
	fields := w.src.structs[name]
	if len(fields) == 0 {
		w.fail(name, fmt.Errorf("there is no such struct"))
		return
	}
	w.printf("\n### %s\n\n%s\n", name, w.text(line(w.src.docs[name]), name))
	w.fields(name, fields)
	if name == "Metadata" {
		w.printf("\n```json\n%s\n```\n", w.src.metadata)
	}
}

func (w *writer) set(name string) {
	values := w.src.enums[name]
	if len(values) == 0 {
		w.fail(name, fmt.Errorf("it has no values"))
		return
	}
	w.printf("\n### %s\n\n%s\n\n", name, w.text(line(w.src.docs[name]), name))
	if !slices.ContainsFunc(values, func(v value) bool { return v.meaning != "" }) {
		parts := make([]string, len(values))
		for i, v := range values {
			parts[i] = "`" + v.text + "`"
		}
		w.printf("%s.\n", strings.Join(parts, ", "))
		return
	}
	w.WriteString("| value | meaning |\n|---|---|\n")
	for _, v := range values {
		says, err := meaning(name, v.text, v.meaning)
		w.fail(name, err)
		w.printf("| `%s` | %s |\n", v.text, w.text(upper(says), name))
	}
}

// text makes Markdown of a comment: names as code, events linked but in their own
// section, and nothing else of it taken for a mark.
func (w *writer) text(s, self string) string {
	var b strings.Builder
	for {
		at := w.names.FindStringIndex(s)
		if at == nil {
			return b.String() + escape(s)
		}
		b.WriteString(escape(s[:at[0]]))
		switch name := s[at[0]:at[1]]; {
		case slices.Contains(w.known, name) && name != self:
			b.WriteString(link(name))
		default:
			b.WriteString("`" + name + "`")
		}
		s = s[at[1]:]
	}
}

func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, "<", `\<`, "*", `\*`, "_", `\_`, "|", `\|`, "`", "\\`", "[", `\[`).Replace(s)
}

func link(name string) string { return fmt.Sprintf("[`%s`](#%s)", name, strings.ToLower(name)) }

// sentence is the first sentence of a paragraph, without its full stop.
func sentence(p string) string {
	s, _, _ := strings.Cut(p, ". ")
	s, _, _ = strings.Cut(s, ": ")
	return strings.TrimSuffix(s, ".")
}

// upper begins a text with a capital: comments beside a field do not. A name that it
// begins with, such as max_fuel, stays as it is.
func upper(s string) string {
	word, _, _ := strings.Cut(s, " ")
	if s == "" || strings.Contains(word, "_") {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// dumped is how many bytes of a binary example are shown.
const dumped = 64

func dump(b []byte) string { return hex.Dump(b[:min(len(b), dumped)]) }
