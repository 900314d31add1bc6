package pebblestore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/caxton-run/caxton/events"
)

// reseal computes a record's or command's checksum anew.
func reseal(b []byte) []byte {
	binary.BigEndian.PutUint32(b[1:], crc32.Checksum(b[5:], castagnoli()))
	return b
}

// filled returns a log of ten appends to two streams, with its events.
func filled(t *testing.T, fsys vfs.FS) (*Store, []events.Recorded) {
	t.Helper()
	s := open(t, "log", smallOptions(fsys))
	for i := range 10 {
		if _, err := s.Append(t.Context(), events.Stream(fmt.Sprintf("agent-%d", i%2)), events.Any(), part(fmt.Sprint(i), 2, 300)...); err != nil {
			t.Fatal(err)
		}
		if i == 5 {
			if err := s.db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	return s, readAll(t, s)
}

func readAll(t *testing.T, s *Store) []events.Recorded {
	t.Helper()
	var all []events.Recorded
	for ev, err := range s.ReadAll(t.Context(), events.ReadAllOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, ev)
	}
	return all
}

func faults(t *testing.T, s *Store) []string {
	t.Helper()
	var found []string
	v, err := s.Verify(t.Context(), func(fault error) { found = append(found, fault.Error()) }, nil)
	if err != nil || v.Faults != uint64(len(found)) {
		t.Fatalf("Verify: %+v, %v; %d faults reported", v, err, len(found))
	}
	return found
}

// keyDamage is done to a key of a log.
type keyDamage struct {
	name   string
	damage func(*testing.T, *Store)
	want   string // in what Verify reports
	reads  string // in what reading everything ends with; "" when it does not meet the damage
}

func change(key []byte, edit func([]byte) []byte) func(*testing.T, *Store) {
	return func(t *testing.T, s *Store) {
		value, closer, err := s.db.Get(key)
		if err != nil {
			t.Fatal(err)
		}
		b := edit(bytes.Clone(value))
		if err := errors.Join(closer.Close(), s.db.Set(key, b, pebble.Sync)); err != nil {
			t.Fatal(err)
		}
	}
}

func remove(key []byte) func(*testing.T, *Store) {
	return func(t *testing.T, s *Store) {
		if err := s.db.Delete(key, pebble.Sync); err != nil {
			t.Fatal(err)
		}
	}
}

func set(key, value []byte) func(*testing.T, *Store) {
	return func(t *testing.T, s *Store) {
		if err := s.db.Set(key, value, pebble.Sync); err != nil {
			t.Fatal(err)
		}
	}
}

// keyDamages are all kinds of keys damaged, in the log that filled makes.
func keyDamages() []keyDamage {
	flip := func(b []byte) []byte { b[len(b)-2] ^= 1; return b }
	record5 := appendEventKey(nil, 5) // revision 3 of agent-0 is at position 5
	return []keyDamage{
		{"a flipped bit in a record", change(record5, flip), "position 5: CRC-32C", "position 5: CRC-32C"},
		{"a record of another version", change(record5, func(b []byte) []byte { b[0] = 7; return b }), "position 5: unknown record version 7", "position 5: unknown"},
		{"a whole record at another's place", change(record5, func(b []byte) []byte { b[13] = 6; return reseal(b) }), "position 5: holds the record of position 6", "position 5: holds"},
		{"a record missing", remove(record5), "position 5: record is missing", "position 5: record is missing"},
		{"a revision missing", remove(appendNumberedKey(nil, kindStream, "agent-0", 1)), "the stream index does not lead to it", ""},
		{"an event id missing", func(t *testing.T, s *Store) { remove(appendIDKey(nil, "agent-0", readAll(t, s)[0].ID))(t, s) }, "position 0: the event id index", ""},
		{"a category entry missing", remove(appendNumberedKey(nil, kindCategory, "agent", 4)), "position 4: the category index", ""},
		{"a type entry missing", remove(appendNumberedKey(nil, kindType, "Part", 4)), "position 4: the type index", ""},
		{"a category entry too many", set(appendNumberedKey(nil, kindCategory, "other", 4), nil), `index 'c': has 21 keys`, ""},
		{"a correlation entry too many", set(binary.BigEndian.AppendUint64(appendCorrelationPrefix(nil, "zz"), 4), nil), `index 'k': has 21 keys`, ""},
		{"a head that lags", change(appendHeadKey(nil, "agent-1"), func(b []byte) []byte { b[8]--; b[16] = 15; return b }), "head of stream agent-1: ", ""},
		{"a head that says tombstoned", change(appendHeadKey(nil, "agent-1"), func(b []byte) []byte { b[len(b)-1] |= flagTombstoned; return b }), "head of stream agent-1: says tombstoned", ""},
		{"a head that begins elsewhere", change(appendHeadKey(nil, "agent-1"), func(b []byte) []byte { b[24] = 4; return b }), "head of stream agent-1: begins at position 4", ""},
		{"a head without a stream", set(appendHeadKey(nil, "ghost-1"), appendHead(nil, head{})), "head of stream ghost-1: points to revision 0 of stream agent-0", ""},
		{"a key of no form", set([]byte("s?"), nil), "key: unknown form", ""},
	}
}

// TestDamageIsNamed does to keys what no disk error does, with Pebble's own
// checksums intact: what the engine checks itself is found and named.
func TestDamageIsNamed(t *testing.T) {
	for _, c := range keyDamages() {
		t.Run(c.name, func(t *testing.T) {
			s, _ := filled(t, vfs.NewMem())
			if found := faults(t, s); len(found) != 0 {
				t.Fatalf("before the damage: %v", found)
			}
			c.damage(t, s)
			if found := faults(t, s); !slices.ContainsFunc(found, func(f string) bool { return strings.Contains(f, c.want) }) {
				t.Errorf("Verify reports %q, want %q", found, c.want)
			}
			var last error
			for ev, err := range s.ReadAll(t.Context(), events.ReadAllOptions{}) {
				if last = err; err == nil && ev.Position == 5 && c.reads != "" {
					t.Error("the damaged record was served")
				}
			}
			if c.reads == "" && last != nil {
				t.Errorf("read ends with %v", last)
			}
			if c.reads != "" && (!errors.Is(last, events.ErrCorrupt) || !strings.Contains(last.Error(), c.reads)) {
				t.Errorf("read ends with %v, want %q", last, c.reads)
			}
		})
	}
}

func contents(t *testing.T, fsys vfs.FS, name string) []byte {
	t.Helper()
	f, err := fsys.Open("log/" + name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, fsys vfs.FS, name string, b []byte) {
	t.Helper()
	f, err := fsys.Create("log/"+name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}
