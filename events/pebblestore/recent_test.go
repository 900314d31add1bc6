package pebblestore

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/caxton-run/caxton/events"
)

// TestForesight: what a caller saw holds for as long as the ids that came since
// are remembered, and for no other.
func TestForesight(t *testing.T) {
	var x recent
	id := events.NewEventID()
	r := &request{stream: "a-1", events: []events.Event{{ID: id}}, looked: true}
	if !x.fresh(r) {
		t.Error("nothing came since")
	}
	x.note(map[streamID]struct{}{{"a-2", id}: {}, {"a-1", events.NewEventID()}: {}})
	if !x.fresh(r) {
		t.Error("other ids, and the id in another stream, came since")
	}
	x.note(map[streamID]struct{}{{"a-1", id}: {}})
	if x.fresh(r) {
		t.Error("the id came since")
	}
	r.groups = x.count
	for n := range 2 * recentGroups {
		if want := n <= recentGroups; x.fresh(r) != want {
			t.Errorf("after %d groups: %v, want %v", n, !want, want)
		}
		x.note(nil)
	}
	r.groups, r.looked = x.count, false
	if x.fresh(r) {
		t.Error("nobody looked")
	}
}

// TestForesightIsNotTrustedTooFar queues an append that was looked at before the
// same id was written, as a slow caller would.
func TestForesightIsNotTrustedTooFar(t *testing.T) {
	for _, later := range []int{0, 1, recentGroups, recentGroups + 1} {
		t.Run(fmt.Sprint(later), func(t *testing.T) {
			s := open(t, "log", smallOptions(vfs.NewMem()))
			evs := part("x", 1, 10)
			slow := &request{ctx: t.Context(), stream: "a-1", expected: events.Any(), events: evs, correlations: []string{""}, answer: make(chan answer, 1)}
			if s.foresee(slow); !slow.looked {
				t.Fatal("the id is known already")
			}
			if _, err := s.Append(t.Context(), "a-1", events.Any(), evs...); err != nil {
				t.Fatal(err)
			}
			for range later {
				if _, err := s.Append(t.Context(), "a-1", events.Any(), part("y", 1, 10)...); err != nil {
					t.Fatal(err)
				}
			}
			if a := s.submit(t.Context(), slow); a.err != nil || !a.result.Duplicate || a.result.First != 0 {
				t.Errorf("the same bytes again: %+v", a)
			}
			other := part("z", 1, 10)
			other[0].ID = evs[0].ID
			if _, err := s.Append(t.Context(), "a-1", events.Any(), other...); !errors.Is(err, events.ErrIDReused) {
				t.Errorf("other bytes under the id: %v", err)
			}
		})
	}
}
