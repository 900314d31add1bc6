package pebblestore

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/caxton-run/caxton/events"
)

// modelStream is what a stream has to be.
type modelStream struct {
	all        []modelEvent
	md         events.StreamMetadata
	tombstoned bool
}

type modelEvent struct {
	events.Event
	at   time.Time
	gone bool // was hidden when the log was scavenged: nothing shows it again for sure
}

// hides reports whether revision i is hidden at a time.
func (m *modelStream) hides(i int, now time.Time) bool {
	return events.Revision(i) < m.md.FirstShown(events.Revision(len(m.all)-1)) || m.md.Expired(m.all[i].at, now)
}

// shown reports whether the stream has events for those who expect some.
func (m *modelStream) shown() bool { return m.md.TruncateBefore < events.Revision(len(m.all)) }

// modelLog is a log beside what it has to be.
type modelLog struct {
	*testing.T
	s       *Store
	rng     *rand.Rand
	now     time.Time
	names   []events.Stream
	streams map[events.Stream]*modelStream
}

// wants compares how a call ended.
func (l *modelLog) wants(what string, err, want error) {
	l.Helper()
	if !errors.Is(err, want) || (err == nil) != (want == nil) {
		l.Errorf("%s: %v, want %v", what, err, want)
	}
}

func (l *modelLog) append(name events.Stream, m *modelStream) {
	expected := []events.ExpectedRevision{events.Any(), events.NoStream()}
	if m.shown() {
		expected[1] = events.Exact(events.Revision(len(m.all) - 1))
	}
	evs := part(string(name), 1+l.rng.IntN(3), l.rng.IntN(50))
	_, err := l.s.Append(l.Context(), name, expected[l.rng.IntN(2)], evs...)
	if m.tombstoned {
		l.wants("append", err, events.ErrStreamDeleted)
		return
	}
	l.wants("append", err, nil)
	for _, ev := range evs {
		m.all = append(m.all, modelEvent{Event: ev, at: l.now})
	}
}

// repeat appends an event again, hidden, scavenged or not.
func (l *modelLog) repeat(name events.Stream, m *modelStream) {
	if len(m.all) == 0 || m.tombstoned {
		return
	}
	i := l.rng.IntN(len(m.all))
	r, err := l.s.Append(l.Context(), name, events.Any(), m.all[i].Event)
	if err != nil || !r.Duplicate || int(r.First) != i {
		l.Errorf("%s@%d again: %+v, %v", name, i, r, err)
	}
}

func (l *modelLog) describe(name events.Stream, m *modelStream) {
	md := events.StreamMetadata{TruncateBefore: events.Revision(l.rng.IntN(len(m.all) + 1))}
	if l.rng.IntN(2) == 0 {
		md.MaxCount = uint64(1 + l.rng.IntN(4))
	}
	if l.rng.IntN(3) == 0 {
		md.MaxAge = time.Duration(5+l.rng.IntN(20)) * time.Second
	}
	_, err := l.s.SetStreamMetadata(l.Context(), name, events.Any(), md)
	if m.tombstoned {
		l.wants("metadata", err, events.ErrStreamDeleted)
		return
	}
	l.wants("metadata", err, nil)
	m.md = md
}

func (l *modelLog) delete(name events.Stream, m *modelStream) {
	_, err := l.s.Delete(l.Context(), name, events.Any())
	switch {
	case m.tombstoned:
		l.wants("delete", err, events.ErrStreamDeleted)
	case !m.shown():
		l.wants("delete", err, events.ErrStreamNotFound)
	default:
		l.wants("delete", err, nil)
		m.md.TruncateBefore = events.Revision(len(m.all))
	}
}

func (l *modelLog) tombstone(name events.Stream, m *modelStream) {
	_, err := l.s.Tombstone(l.Context(), name, events.Any())
	if m.tombstoned {
		l.wants("tombstone", err, events.ErrStreamDeleted)
		return
	}
	l.wants("tombstone", err, nil)
	m.tombstoned = true
}

func (l *modelLog) scavenge() {
	_, err := l.s.Scavenge(l.Context(), ScavengeOptions{})
	l.wants("scavenge", err, nil)
	for _, m := range l.streams {
		for i := range m.all {
			m.all[i].gone = m.all[i].gone || m.hides(i, l.now)
		}
	}
}

// check reads a stream both ways.
func (l *modelLog) check(name events.Stream, m *modelStream) {
	want := error(nil)
	switch {
	case m.tombstoned:
		want = events.ErrStreamDeleted
	case !m.shown():
		want = events.ErrStreamNotFound
	}
	for _, opts := range []events.ReadStreamOptions{{}, {From: events.EndOfStream, Direction: events.Backwards}} {
		got := make(map[events.Revision]events.EventID)
		var ended error
		for ev, err := range l.s.ReadStream(l.Context(), name, opts) {
			if ended = err; err == nil {
				got[ev.Revision] = ev.ID
			}
		}
		l.wants("read "+string(name), ended, want)
		if want != nil {
			continue
		}
		for i, ev := range m.all {
			id, there := got[events.Revision(i)]
			if hidden := m.hides(i, l.now); there && (hidden || id != ev.ID) || !there && !hidden && !ev.gone {
				l.Errorf("%s@%d is shown %t, hidden %t, perhaps gone %t", name, i, there, hidden, ev.gone)
			}
		}
	}
}

// TestModel does what may be done to streams, in any order, and holds what is read
// against what has to be; in more orders with CAXTON_LONG=1.
func TestModel(t *testing.T) {
	for seed := range seedsOf(30, 1000) {
		l := &modelLog{
			T: t, rng: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1_700_000_000, 0),
			names: []events.Stream{"a-1", "a-2", "b-1"}, streams: make(map[events.Stream]*modelStream),
		}
		opts := smallOptions(vfs.NewMem())
		opts.Now = func() time.Time { return l.now }
		l.s = open(t, "log", opts)
		for range 60 {
			l.now = l.now.Add(time.Duration(l.rng.IntN(5)) * time.Second)
			name := l.names[l.rng.IntN(len(l.names))]
			if l.streams[name] == nil {
				l.streams[name] = &modelStream{}
			}
			m := l.streams[name]
			switch n := l.rng.IntN(30); {
			case n < 14:
				l.append(name, m)
			case n < 18:
				l.repeat(name, m)
			case n < 22:
				l.describe(name, m)
			case n < 24:
				l.delete(name, m)
			case n < 25:
				l.tombstone(name, m)
			case n < 28:
				l.scavenge()
			default:
				l.wants("close", l.s.Close(), nil)
				l.s = open(t, "log", opts)
			}
			for name, m := range l.streams {
				l.check(name, m)
			}
		}
		if found := faults(t, l.s); len(found) > 0 {
			t.Error(found)
		}
		l.wants("close", l.s.Close(), nil)
		if t.Failed() {
			t.Fatal(fmt.Sprint("seed ", seed))
		}
	}
}
