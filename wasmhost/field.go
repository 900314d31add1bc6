package wasmhost

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// validText reports whether b is UTF-8, as JSON strings and keys have to be.
func validText(b []byte) bool { return utf8.Valid(b) }

// field finds one field of a message: the name of a top-level field, or a
// dotted path into objects ("content.op"). Strings come back unquoted, other
// values as their JSON text. Of repeated names the last counts, as in
// encoding/json. doc is valid JSON. look is called after every few bytes: a path of
// many names in a large message takes many milliseconds.
func field(doc []byte, path string, look func()) (value []byte, ok bool) {
	s := scanner{b: doc, look: look}
	raw := s.value()
	for more := path != ""; more; {
		var name string
		name, path, more = strings.Cut(path, ".")
		if raw, ok = member(raw, name, look); !ok {
			return nil, false
		}
	}
	if !ok {
		return nil, false
	}
	if raw[0] != '"' {
		return raw, true
	}
	text, ok := unquote(raw)
	return []byte(text), ok
}

// member returns the value under a name of an object, given as JSON text.
func member(object []byte, name string, look func()) (value []byte, ok bool) {
	if len(object) == 0 || object[0] != '{' {
		return nil, false
	}
	s := scanner{b: object, p: 1, look: look}
	for s.space(); s.p < len(s.b) && s.b[s.p] != '}'; s.space() {
		key := s.value()
		s.space()
		s.p++ // the colon
		s.space()
		v := s.value()
		if text, valid := unquote(key); valid && text == name {
			value, ok = v, len(v) > 0
		}
		s.space()
		if s.p < len(s.b) && s.b[s.p] == ',' {
			s.p++
		}
	}
	return value, ok
}

// unquote reads a JSON string; most have no escapes and are cut out only.
func unquote(raw []byte) (text string, ok bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", false
	}
	inner := string(raw[1 : len(raw)-1])
	if strings.IndexByte(inner, '\\') < 0 {
		return inner, true
	}
	ok = json.Unmarshal(raw, &text) == nil
	return text, ok
}

// scanner passes over valid JSON. On other bytes it still ends, somewhere.
type scanner struct {
	b    []byte
	p    int
	seen int // p at the last look
	look func()
}

// lookEveryBytes of JSON: about 20 µs, or ten times that where every name is escaped.
const lookEveryBytes = 16 << 10

// passed looks up when enough was read.
func (s *scanner) passed() {
	if s.p-s.seen >= lookEveryBytes {
		s.seen = s.p
		s.look()
	}
}

func (s *scanner) space() {
	for s.p < len(s.b) && (s.b[s.p] == ' ' || s.b[s.p] == '\n' || s.b[s.p] == '\t' || s.b[s.p] == '\r') {
		s.p++
	}
}

// value passes one value and returns its text. It always moves on, unless the
// text is at its end.
func (s *scanner) value() []byte {
	s.space()
	from, depth := s.p, 0
	for s.p < len(s.b) {
		s.passed()
		switch c := s.b[s.p]; c {
		case '"':
			s.str()
		case '{', '[':
			depth++
			s.p++
		case '}', ']':
			depth--
			s.p++
		case ',', ':', ' ', '\n', '\t', '\r':
			s.p++
			continue
		default:
			s.scalar()
		}
		if depth <= 0 {
			break
		}
	}
	return s.b[from:s.p]
}

func (s *scanner) str() {
	for s.p++; s.p < len(s.b); s.p++ {
		s.passed()
		switch s.b[s.p] {
		case '\\':
			s.p++
		case '"':
			s.p++
			return
		}
	}
	s.p = len(s.b)
}

// scalar passes a number, true, false or null.
func (s *scanner) scalar() {
	for s.p++; s.p < len(s.b); s.p++ {
		switch s.b[s.p] {
		case ',', ':', '}', ']', '{', '[', '"', ' ', '\n', '\t', '\r':
			return
		}
	}
}
