package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/caxton-run/caxton/events"
)

// contentHelp says what content reads, for the help of the flags that it serves.
const contentHelp = "Content is JSON; text that is not JSON is sent as a JSON string, bytes that are not text as base64;\n" +
	"@FILE reads a file, - reads standard input. Text that begins with @ goes in quotes: '\"@all\"'."

// content reads what a flag says to an agent: exactly one of text and raw is
// set, unless the flag is empty text.
func (a *app) content(flag, arg string) (text json.RawMessage, raw []byte, err error) {
	b := []byte(arg)
	switch file, named := strings.CutPrefix(arg, "@"); {
	case arg == "-":
		b, err = readContent(a.stdin)
	case named:
		b, err = readContentFile(file)
	}
	if err != nil {
		return nil, nil, usagef("--%s cannot be read: %s", flag, err)
	}
	switch {
	case json.Valid(b):
		text = b
	case utf8.Valid(b):
		if looksLikeJSON(b) {
			a.note("note: --%s begins like JSON and is none, so it is sent as text", flag)
		}
		if text, err = json.Marshal(string(b)); err != nil {
			return nil, nil, err
		}
	default:
		raw = b
	}
	if len(text)+len(raw) > events.MaxContentCeiling {
		return nil, nil, usagef("--%s must be at most %s", flag, bytesOf(events.MaxContentCeiling))
	}
	return text, raw, nil
}

// looksLikeJSON tells what was meant to be JSON from text.
func looksLikeJSON(b []byte) bool {
	text := bytes.TrimSpace(b)
	return len(text) > 0 && (text[0] == '{' || text[0] == '[')
}

func readContentFile(name string) (b []byte, err error) {
	if name == "" {
		return nil, fmt.Errorf("@ needs the name of a file")
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	return readContent(f)
}

// readContent reads no more than it takes to know that it is too much.
func readContent(r io.Reader) ([]byte, error) {
	return io.ReadAll(io.LimitReader(r, events.MaxContentCeiling+1))
}
