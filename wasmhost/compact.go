package wasmhost

// maxPlainDepth bounds what isPlain follows: deeper content goes the long way.
const maxPlainDepth = 16

// isPlain reports whether b is one JSON value without white space, backslashes
// and control characters: what encoding/json would copy as it is, at a tenth of
// the speed. false says nothing about b.
func isPlain(b []byte) bool {
	rest, ok := plainValue(b, maxPlainDepth)
	return ok && len(rest) == 0
}

// plainValue passes a value and returns what follows it.
func plainValue(b []byte, depth int) (rest []byte, ok bool) {
	if len(b) == 0 || depth == 0 {
		return nil, false
	}
	switch c := b[0]; {
	case c == '"':
		return plainString(b)
	case c == '{':
		return plainList(b[1:], '}', depth)
	case c == '[':
		return plainList(b[1:], ']', depth)
	case c == '-' || c >= '0' && c <= '9':
		return plainNumber(b)
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if len(b) >= len(word) && string(b[:len(word)]) == word {
			return b[len(word):], true
		}
	}
	return nil, false
}

func plainString(b []byte) (rest []byte, ok bool) {
	for i := 1; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return b[i+1:], true
		case c == '\\' || c < ' ':
			return nil, false
		}
	}
	return nil, false
}

// plainList passes the members of an object or array, up to what ends it.
func plainList(b []byte, end byte, depth int) (rest []byte, ok bool) {
	if len(b) > 0 && b[0] == end {
		return b[1:], true
	}
	for len(b) > 0 {
		if end == '}' {
			if b[0] != '"' {
				return nil, false
			}
			if b, ok = plainString(b); !ok || len(b) == 0 || b[0] != ':' {
				return nil, false
			}
			b = b[1:]
		}
		if b, ok = plainValue(b, depth-1); !ok || len(b) == 0 {
			return nil, false
		}
		switch b[0] {
		case end:
			return b[1:], true
		case ',':
			b = b[1:]
		default:
			return nil, false
		}
	}
	return nil, false
}

// plainNumber passes a number: https://datatracker.ietf.org/doc/html/rfc8259#section-6
func plainNumber(b []byte) (rest []byte, ok bool) {
	if b[0] == '-' {
		b = b[1:]
	}
	zero := len(b) > 0 && b[0] == '0'
	b, n := digits(b)
	if n == 0 || zero && n > 1 {
		return nil, false
	}
	if len(b) > 0 && b[0] == '.' {
		if b, n = digits(b[1:]); n == 0 {
			return nil, false
		}
	}
	if len(b) > 0 && (b[0] == 'e' || b[0] == 'E') {
		b = b[1:]
		if len(b) > 0 && (b[0] == '+' || b[0] == '-') {
			b = b[1:]
		}
		if b, n = digits(b); n == 0 {
			return nil, false
		}
	}
	return b, true
}

func digits(b []byte) (rest []byte, n int) {
	for n < len(b) && b[n] >= '0' && b[n] <= '9' {
		n++
	}
	return b[n:], n
}
