package events

import (
	"bytes"
	"fmt"
)

// versionOf returns the schema version that an event's metadata name; 1 when they
// name none, as the first form of every event needs no number. It runs for every
// event that is read, so the form that Metadata.Encode writes is scanned; any other
// is parsed. Both give the same answer for all metadata that parse.
func versionOf(metadata []byte) (int, error) {
	version, ok := scanVersion(metadata)
	if !ok {
		md, err := DecodeMetadata(metadata)
		if err != nil {
			return 0, err
		}
		version = md.SchemaVersion
	}
	if version < 0 {
		return 0, fmt.Errorf("schemaVersion is %d", version)
	}
	return max(version, 1), nil
}

// scanVersion finds the version in metadata as Metadata.Encode writes them: an
// object without white space whose keys are those of Metadata, each once at most
// for the version, and whose strings have no escapes. ok is false for any other
// form, which may be good JSON all the same. It does not check what it skips.
func scanVersion(b []byte) (version int, ok bool) {
	if len(b) == 0 {
		return 0, true
	}
	if len(b) < 2 || b[0] != '{' || b[len(b)-1] != '}' {
		return 0, false
	}
	if b = b[1:]; b[0] == '}' {
		return 0, len(b) == 1
	}
	for {
		var key []byte
		if key, b, ok = plainString(b); !ok || len(b) == 0 || b[0] != ':' {
			return 0, false
		}
		switch b = b[1:]; string(key) {
		case "schemaVersion":
			if version != 0 {
				return 0, false // twice: the parser says which one counts
			}
			version, b, ok = smallNumber(b)
		case "$correlationId", "$causationId", "actor", "member", "traceparent", "ancestor", "ancestorAt":
			_, b, ok = plainString(b)
		default:
			return 0, false // perhaps the same key in other letters, which the parser takes too
		}
		switch {
		case !ok || len(b) == 0:
			return 0, false
		case b[0] == '}':
			return version, len(b) == 1
		case b[0] != ',':
			return 0, false
		}
		b = b[1:]
	}
}

// plainString cuts a JSON string without escapes from the front of b.
func plainString(b []byte) (s, rest []byte, ok bool) {
	if len(b) < 2 || b[0] != '"' {
		return nil, nil, false
	}
	b = b[1:]
	end := bytes.IndexByte(b, '"')
	if end < 0 || bytes.IndexByte(b[:end], '\\') >= 0 {
		return nil, nil, false
	}
	return b[:end], b[end+1:], true
}

// smallNumber cuts a number of 1 to 9999 from the front of b. 0, written by who
// knows no version, is left to the parser.
func smallNumber(b []byte) (n int, rest []byte, ok bool) {
	i := 0
	for ; i < len(b) && i < 4 && '0' <= b[i] && b[i] <= '9'; i++ {
		n = n*10 + int(b[i]-'0')
	}
	return n, b[i:], i > 0 && b[0] != '0'
}
