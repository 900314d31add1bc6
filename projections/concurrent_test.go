package projections

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/caxton-run/caxton/events"
)

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// Readers on other goroutines see, while the runner folds, whole agents and whole
// lists only. (The race detector sees the rest.)
func TestReadersBesideTheRunner(t *testing.T) {
	m, set := newMemStore(), newSet()
	r := run(t, m, set.folds()...)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					readAll(t, set)
				}
			}
		})
	}
	var last events.Position
	w := newWorld(t, newRand(7).IntN, func(s events.Stream, p events.Payload) { last = m.add(s, headOf(m, s), p) })
	for range 1500 {
		w.step()
	}
	r.wait(t, last)
	close(stop)
	readers.Wait()
}

// headOf is the revision of the next event of a stream.
func headOf(m *memStore, s events.Stream) events.Revision {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := events.Revision(0)
	for i := range m.recs {
		if m.recs[i].Stream == s {
			n++
		}
	}
	return n
}

func readAll(t *testing.T, s *set) {
	page, err := s.agents.List("", 0)
	if err != nil || len(page.Agents) != page.Total {
		t.Errorf("%d agents of %d, %v", len(page.Agents), page.Total, err)
	}
	for _, v := range page.Agents {
		if v.UpdatedAt.Before(v.CreatedAt) || v.Name == "" {
			t.Errorf("half an agent: %+v", v)
		}
		s.agents.Get(v.ID)
		_, err := s.agents.Resolve(v.Name)
		if err != nil && !errors.Is(err, events.ErrAmbiguousAgent) && !errors.Is(err, events.ErrAgentNotFound) {
			t.Errorf("resolve %q: %v", v.Name, err)
		}
	}
	select {
	case <-s.inFlight.Changed():
		for _, pair := range s.inFlight.TakeChanged() {
			list := s.inFlight.Next(pair, 0, 64)
			for i := 1; i < len(list); i++ {
				if list[i].Sequence <= list[i-1].Sequence {
					t.Errorf("out of order: %v", list)
				}
			}
		}
	default:
	}
	for _, id := range s.inboxes.Waiting() {
		if id.IsZero() {
			t.Error("nobody waits")
		}
	}
	if s.inFlight.Len() < 0 || s.inboxes.Len() < 0 {
		t.Errorf("%d in flight, %d in inboxes", s.inFlight.Len(), s.inboxes.Len())
	}
}
