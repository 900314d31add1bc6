package http

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/caxton-run/caxton/events"
)

// object reads the members of one JSON object strictly: each must be of the
// right type, none may be unknown or come twice, and names match exactly. It
// gathers every fault, so that a caller learns all of them at once, which
// encoding/json's own struct decoding cannot do.
type object struct {
	prefix  string // of field names in faults, such as "resource_limits."
	members map[string]json.RawMessage
	order   []string
	read    map[string]bool
	faults  *events.Faults
}

// checkJSON refuses what is not one JSON object in UTF-8, naming the byte.
func checkJSON(body []byte) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return events.Invalid("body", "is empty; a JSON object is expected")
	}
	if !utf8.Valid(body) {
		return events.Invalidf("body", "malformed JSON at byte %d: not UTF-8", firstInvalid(body))
	}
	var syntax *json.SyntaxError
	if err := json.Unmarshal(body, new(json.RawMessage)); errors.As(err, &syntax) {
		return events.Invalidf("body", "malformed JSON at byte %d: %s", syntax.Offset, syntax.Error())
	} else if err != nil {
		return events.Invalidf("body", "malformed JSON: %s", clip(err.Error()))
	}
	if t := typeOf(body); t != "an object" {
		return events.Invalidf("body", "must be a JSON object, got %s", t)
	}
	return nil
}

func firstInvalid(b []byte) int {
	at := 0
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			break
		}
		at, b = at+n, b[n:]
	}
	return at
}

// readObject begins to read a body that passed checkJSON; an empty one is an
// empty object. Faults go to f.
func readObject(body []byte, f *events.Faults) *object {
	o := &object{faults: f, members: map[string]json.RawMessage{}, read: map[string]bool{}}
	if len(body) > 0 {
		o.load(body, "body")
	}
	return o
}

// load splits an object into its members.
func (o *object) load(raw []byte, field string) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		o.faults.Add(field, "must be a JSON object, got %s", typeOf(raw))
		return
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			o.faults.Add(field, "malformed JSON: %s", clip(err.Error()))
			return
		}
		name, _ := key.(string)
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			o.faults.Add(field, "malformed JSON: %s", clip(err.Error()))
			return
		}
		if _, twice := o.members[name]; twice {
			o.faults.Add(o.prefix+clip(name), "is given twice")
			continue
		}
		o.members[name] = value
		o.order = append(o.order, name)
	}
}

// take returns a member and notes that the field is known.
func (o *object) take(name string) (json.RawMessage, bool) {
	o.read[name] = true
	raw, ok := o.members[name]
	return raw, ok
}

func (o *object) wrong(name, want string, raw []byte) {
	o.faults.Add(o.prefix+clip(name), "must be %s, got %s", want, typeOf(raw))
}

// text reads a string; absent is "".
func (o *object) text(name string) string {
	var s string
	if raw, ok := o.take(name); ok {
		if raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
			o.wrong(name, "a string", raw)
		}
	}
	return s
}

// flag reads true or false; absent is false.
func (o *object) flag(name string) bool {
	var b bool
	if raw, ok := o.take(name); ok {
		if typeOf(raw) != "a boolean" || json.Unmarshal(raw, &b) != nil {
			o.wrong(name, "true or false", raw)
		}
	}
	return b
}

// has reports whether a member is given.
func (o *object) has(name string) bool {
	_, ok := o.members[name]
	return ok
}

// whole reads a whole number that must be 0 to ceiling; absent is 0.
func (o *object) whole(name string, ceiling uint64) uint64 {
	raw, ok := o.take(name)
	if !ok {
		return 0
	}
	if typeOf(raw) != "a number" {
		o.wrong(name, "a number", raw)
		return 0
	}
	n, err := strconv.ParseUint(string(raw), 10, 64)
	if err != nil || n > ceiling {
		o.faults.Add(o.prefix+name, "must be a whole number, 0 to %d", ceiling)
		return 0
	}
	return n
}

// limit reads a number that must be 1 to ceiling; absent is def.
func (o *object) limit(name string, def, ceiling uint64) uint64 {
	raw, ok := o.take(name)
	if !ok {
		return def
	}
	if typeOf(raw) != "a number" {
		o.wrong(name, "a number", raw)
		return def
	}
	return o.checkLimit(name, string(raw), def, ceiling)
}

// checkLimit is limit for a number's text, in JSON or in a query.
func (o *object) checkLimit(name, text string, def, ceiling uint64) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	field := o.prefix + name
	switch {
	case errors.Is(err, strconv.ErrRange) || err == nil && n > ceiling:
		o.faults.Add(field, "must be at most %d", ceiling)
	case err != nil && text != "" && text[0] == '-' || err == nil && n == 0:
		o.faults.Add(field, "must be greater than 0")
	case err != nil:
		o.faults.Add(field, "must be a whole number, 1 to %d", ceiling)
	default:
		return n
	}
	return def
}

// base64 reads bytes in standard base64; absent or empty is nil.
func (o *object) base64(name string) []byte {
	s := o.text(name)
	if s == "" {
		return nil
	}
	b, err := base64.StdEncoding.DecodeString(s)
	var at base64.CorruptInputError
	if errors.As(err, &at) {
		o.faults.Add(o.prefix+name, "must be base64; it ends or breaks at byte %d", int64(at))
		return nil
	}
	return b
}

// time reads an RFC 3339 time; absent is nil.
func (o *object) time(name string) *time.Time {
	s := o.text(name)
	if s == "" {
		return nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		o.faults.Add(o.prefix+name, "must be a time such as 2006-01-02T15:04:05Z")
		return nil
	}
	return &t
}

// texts reads an object of strings; absent is nil.
func (o *object) texts(name string) map[string]string {
	in, ok := o.object(name)
	if !ok {
		return nil
	}
	out := make(map[string]string, len(in.members))
	for _, k := range in.order {
		out[k] = in.text(k)
	}
	return out
}

// object reads a nested object, whose faults join this one's.
func (o *object) object(name string) (*object, bool) {
	in := &object{prefix: o.prefix + name + ".", faults: o.faults, members: map[string]json.RawMessage{}, read: map[string]bool{}}
	raw, ok := o.take(name)
	if ok {
		in.load(raw, o.prefix+name)
	}
	return in, ok
}

// finish refuses the members that nobody took.
func (o *object) finish() {
	for _, name := range o.order {
		if !o.read[name] {
			o.faults.Add(o.prefix+clip(name), "is not a field of this call")
		}
	}
}

// typeOf names the JSON type of a value.
func typeOf(raw []byte) string {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	if len(raw) == 0 {
		return "nothing"
	}
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}
