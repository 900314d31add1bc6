package pebblestore

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/caxton-run/caxton/events"
)

// countedReader counts what is got of it.
type countedReader struct {
	pebble.Reader
	gets int
}

// Get implements pebble.Reader.
func (c *countedReader) Get(key []byte) ([]byte, io.Closer, error) {
	c.gets++
	return c.Reader.Get(key)
}

// TestRepeatedAppendIsLookedUpInOnePass repeats the append of most events, whole and
// changed: it is judged as one event after another would be, and not with a Get for each.
func TestRepeatedAppendIsLookedUpInOnePass(t *testing.T) {
	opts := DefaultOptions()
	opts.BallastBytes = 0
	r, _ := openReplica(t, t.TempDir(), opts)
	evs := make([]events.Event, events.MaxAppendEvents)
	for i := range evs {
		evs[i] = events.Event{ID: events.NewEventID(), Type: "T", ContentType: events.JSON, Data: fmt.Appendf(nil, "%d", i)}
	}
	want, err := r.Append(t.Context(), "many-1", events.NoStream(), evs...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Append(t.Context(), "many-1", events.Any(), events.Event{ID: events.NewEventID(), Type: "T", ContentType: events.JSON, Data: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	if err := r.db.Flush(); err != nil {
		t.Fatal(err)
	}
	decide := func(evs []events.Event) (decision, int, error) {
		c := &countedReader{Reader: r.db}
		d, err := r.state.decide(c, &request{stream: "many-1", expected: events.NoStream(), events: evs}, time.Now(), false)
		return d, c.gets, err
	}
	d, gets, err := decide(evs)
	want.Duplicate = true
	if err != nil || d.write || d.result != want {
		t.Errorf("repeated: %+v, %v; want %+v", d.result, err, want)
	}
	if gets > 1 {
		t.Errorf("repeated: %d Gets for %d events", gets, len(evs))
	}
	for what, change := range map[string]func([]events.Event){
		"another last id":    func(evs []events.Event) { evs[len(evs)-1].ID = events.NewEventID() },
		"another first id":   func(evs []events.Event) { evs[0].ID = events.NewEventID() },
		"another order":      func(evs []events.Event) { evs[1], evs[2] = evs[2], evs[1] },
		"other bytes within": func(evs []events.Event) { evs[7].Data = []byte("{}") },
	} {
		changed := append([]events.Event(nil), evs...)
		change(changed)
		if d, _, err := decide(changed); d.write || !errors.Is(err, events.ErrIDReused) {
			t.Errorf("%s: %+v, %v", what, d.result, err)
		}
	}
}
