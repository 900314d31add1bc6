package agent

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"

	"github.com/caxton-run/caxton/events"
)

// The parts of a state that grow with use stand in binary behind its JSON: as
// JSON 100,000 Idempotency-Keys would be 25 MB. All numbers are varints
// (encoding/binary).
//
//	number of values | for each, by key: key, value
//	number of keys | for each, oldest first: key, message id (16), hash, revision, time
//
// A text is its length and its bytes. A hash is hexHash and 32 bytes, or plainHash
// and a text. Revision and time are differences to the entry before.
const (
	plainHash byte = 0
	hexHash   byte = 1
)

func (s *State) appendBulk(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(s.values.all)))
	for _, k := range slices.Sorted(maps.Keys(s.values.all)) {
		b = appendText(b, k)
		b = appendText(b, s.values.all[k])
	}
	b = binary.AppendUvarint(b, uint64(len(s.keys.order)))
	var last KeyUse
	for _, k := range s.keys.order {
		use := s.keys.uses[k]
		b = appendText(b, k)
		b = append(b, use.MessageID[:]...)
		b = appendHash(b, use.BodyHash)
		b = binary.AppendVarint(b, int64(use.Revision-last.Revision)) // may wrap, and wraps back
		b = binary.AppendVarint(b, use.AtMicros-last.AtMicros)
		last = use
	}
	return b
}

func appendText[T string | []byte](b []byte, text T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

func appendHash(b []byte, hash string) []byte {
	raw, err := hex.DecodeString(hash)
	if err != nil || len(raw) != 32 || hex.EncodeToString(raw) != hash {
		return appendText(append(b, plainHash), hash)
	}
	return append(append(b, hexHash), raw...)
}

// readBulk reads what appendBulk wrote, to the last byte; false for anything else.
func (s *State) readBulk(b []byte) bool {
	r := reader{b: b}
	for range r.count() {
		key, value := r.text(), r.text()
		s.values.change(events.StateChange{Key: string(key), Value: bytes.Clone(value)})
	}
	n := r.count()
	var last KeyUse
	for range n {
		key := string(r.text())
		use := KeyUse{MessageID: events.MessageID(r.take(16)), BodyHash: r.hash()}
		use.Revision = last.Revision + events.Revision(r.varint())
		use.AtMicros = last.AtMicros + r.varint()
		last = use
		if r.bad || !s.keys.restore(key, use, n) {
			return false
		}
	}
	return !r.bad && len(r.b) == 0
}

// restore puts a key behind those that are there; false if it is there already:
// the keyring could not forget it.
func (k *keyring) restore(key string, use KeyUse, all int) bool {
	if _, twice := k.uses[key]; twice {
		return false
	}
	if k.uses == nil {
		k.uses = make(map[string]KeyUse, min(all, MaxKeys))
	}
	k.uses[key] = use
	k.order = append(k.order, key)
	return true
}

// reader takes a state apart. After the first fault everything it reads is empty.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) fail() {
	r.b, r.bad = nil, true
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads how many entries follow: not more than there are bytes, so that a
// damaged number costs nothing.
func (r *reader) count() int {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.fail()
		return 0
	}
	return int(n)
}

// take returns the next n bytes; with a fault n zeros, n being small.
func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.fail()
		return make([]byte, n)
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) text() []byte { return r.take(r.count()) }

func (r *reader) hash() string {
	switch r.take(1)[0] {
	case plainHash:
		return string(r.text())
	case hexHash:
		return hex.EncodeToString(r.take(32))
	}
	r.fail()
	return ""
}
