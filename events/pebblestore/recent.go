package pebblestore

import (
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/caxton-run/caxton/events"
)

// Whether an append's ids are known is the dearest question that the committer
// asks. So callers, who are many, look into the database before they queue, and
// the committer looks only at the ids that came in groups since.

// maxForesight bounds the events of an append that its caller looks up: the
// larger one costs the committer more in other ways.
const maxForesight = 16

// recentGroups is how many groups may be written between a caller's look and
// the committer's; after more the committer looks itself. Two are usual.
const recentGroups = 8

// recent is the ids of the last groups. It belongs to the committer.
type recent struct {
	ids   [recentGroups]map[streamID]struct{} // by number of the group
	count uint64                              // of groups written
}

// note adds the ids of a group that can be seen in the database now.
func (x *recent) note(ids map[streamID]struct{}) {
	x.ids[x.count%recentGroups] = ids
	x.count++
}

// fresh reports whether none of r's ids stands in its stream, as far as that
// follows from the look of its caller. False may mean that nobody knows.
func (x *recent) fresh(r *request) bool {
	if !r.looked || x.count-r.groups > recentGroups {
		return false
	}
	for n := r.groups; n < x.count; n++ {
		for i := range r.events {
			if _, ok := x.ids[n%recentGroups][streamID{r.stream, r.events[i].ID}]; ok {
				return false
			}
		}
	}
	return true
}

// foresee looks r's ids up on its caller's goroutine, and notes when and that
// they are not known. What goes wrong here the committer will meet and tell.
func (s *Store) foresee(r *request) {
	if len(r.events) > maxForesight || r.expected == events.NoStream() || s.enter() != nil {
		return
	}
	defer s.leave()
	r.groups = s.groups.Load() // before the look: what is written meanwhile counts as since
	var key []byte
	for i := range r.events {
		key = appendIDKey(key[:0], r.stream, r.events[i].ID)
		_, closer, err := s.db.Get(key)
		if !errors.Is(err, pebble.ErrNotFound) {
			if err == nil {
				closer.Close() //nolint:errcheck // releases a pin; there is nothing to fail
			}
			return
		}
	}
	r.looked = true
}
