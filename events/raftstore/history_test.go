package raftstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/anishathalye/porcupine"

	"github.com/caxton-run/caxton/events"
)

// history is what clients asked of a cluster and were told. It is checked for
// linearizability, stream by stream.
type history struct {
	clock atomic.Int64 // orders what clients see; finer than a clock

	mu    sync.Mutex // guards what follows
	ops   map[events.Stream][]porcupine.Operation
	acked map[events.EventID]events.Stream
	tags  uint32
	grown chan struct{} // of capacity 1: an append was acknowledged
}

func newHistory() *history {
	return &history{
		ops:   make(map[events.Stream][]porcupine.Operation),
		acked: make(map[events.EventID]events.Stream), grown: make(chan struct{}, 1),
	}
}

// asked is an append of one event with a tag of its own, or a read.
type asked struct {
	read     bool
	expected events.ExpectedRevision
	tag      string // 4 bytes
}

// told is what the client heard.
type told struct {
	unknown bool
	wrong   bool
	first   int    // revision of the event; of the last one when wrong, -1 for none
	tags    string // of all events, for a read
}

// model is a stream: the tags of its events, one after the other.
func model() porcupine.Model {
	n := porcupine.NondeterministicModel{
		Init: func() []any { return []any{""} },
		Step: func(state, input, output any) []any {
			s, in, out := state.(string), input.(asked), output.(told)
			length := len(s) / 4
			fits := in.expected.Matches(events.Revision(length-1), length > 0)
			switch {
			case in.read && (out.unknown || out.tags == s):
				return []any{s}
			case in.read:
				return nil
			case out.unknown && fits:
				return []any{s, s + in.tag}
			case out.unknown:
				return []any{s}
			case out.wrong && !fits && out.first == length-1:
				return []any{s}
			case !out.wrong && fits && out.first == length:
				return []any{s + in.tag}
			}
			return nil
		},
	}
	return n.ToModel()
}

// client asks members at random until ctx ends.
func (h *history) client(ctx context.Context, c *cluster, rng *rand.Rand) {
	for ctx.Err() == nil {
		s := c.pick(rng)
		if s == nil {
			c.pause()
			continue
		}
		stream := events.Stream(fmt.Sprintf("agent-%d", rng.IntN(3)))
		within, cancel := context.WithTimeout(ctx, 10*c.nodes[0].opts.Heartbeat)
		if rng.IntN(3) == 0 {
			h.read(within, s, stream)
		} else {
			h.append(within, s, stream, rng)
		}
		cancel()
	}
}

// pick returns a member that is up.
func (c *cluster) pick(rng *rand.Rand) *Store {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes[rng.IntN(len(c.nodes))].Store
}

func (h *history) now() int64 { return h.clock.Add(1) }

func (h *history) note(stream events.Stream, call int64, in asked, out told) {
	end := h.now()
	if out.unknown {
		if in.read {
			return // says nothing
		}
		end = math.MaxInt64 // it may come at any time
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops[stream] = append(h.ops[stream], porcupine.Operation{Input: in, Call: call, Output: out, Return: end})
}

func (h *history) append(ctx context.Context, s *Store, stream events.Stream, rng *rand.Rand) {
	h.mu.Lock()
	h.tags++
	tag := binary.BigEndian.AppendUint32(nil, h.tags)
	h.mu.Unlock()
	in := asked{tag: string(tag), expected: events.Any()}
	if rng.IntN(2) == 0 {
		in.expected = events.NoStream()
		for ev, err := range s.ReadStream(ctx, stream, events.ReadStreamOptions{From: events.EndOfStream, Direction: events.Backwards, Max: 1}) {
			if err == nil {
				in.expected = events.Exact(ev.Revision)
			}
		}
	}
	ev := events.Event{ID: events.NewEventID(), Type: "Tested", ContentType: events.Binary, Data: tag}
	call := h.now()
	r, err := s.Append(ctx, stream, in.expected, ev)
	var wrong *events.WrongRevisionError
	switch {
	case err == nil:
		h.note(stream, call, in, told{first: int(r.First)})
		h.mu.Lock()
		h.acked[ev.ID] = stream
		h.mu.Unlock()
		select {
		case h.grown <- struct{}{}:
		default:
		}
	case errors.As(err, &wrong):
		actual := -1
		if wrong.Exists {
			actual = int(wrong.Actual)
		}
		h.note(stream, call, in, told{wrong: true, first: actual})
	default:
		h.note(stream, call, in, told{unknown: true})
	}
}

func (h *history) read(ctx context.Context, s *Store, stream events.Stream) {
	call := h.now()
	tags, err := "", s.Sync(ctx)
	if err == nil {
		tags, err = readTags(ctx, s, stream)
	}
	h.note(stream, call, asked{read: true}, told{unknown: err != nil, tags: tags})
}

func readTags(ctx context.Context, s *Store, stream events.Stream) (string, error) {
	var tags []byte
	for ev, err := range s.ReadStream(ctx, stream, events.ReadStreamOptions{}) {
		if errors.Is(err, events.ErrStreamNotFound) {
			break
		}
		if err != nil {
			return "", err
		}
		tags = append(tags, ev.Data...)
	}
	return string(tags), nil
}

// compare holds the history against what the log holds: each acknowledged event once.
// What each stream holds becomes the last read of its history.
func (h *history) compare(t *testing.T, s *Store) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	for stream, ops := range h.ops {
		tags, err := readTags(t.Context(), s, stream)
		if err != nil {
			t.Errorf("read %s: %v", stream, err)
		}
		call := h.now()
		h.ops[stream] = append(ops, porcupine.Operation{Input: asked{read: true}, Call: call, Output: told{tags: tags}, Return: h.now()})
	}
	seen := make(map[events.EventID]int)
	for ev, err := range s.ReadAll(t.Context(), events.ReadAllOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		seen[ev.ID]++
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("event %s stands %d times in the log", id, n)
		}
	}
	for id, stream := range h.acked {
		if seen[id] == 0 {
			t.Errorf("acknowledged event %s of %s is lost", id, stream)
		}
	}
}

// judge holds the history against what it may be.
func (h *history) judge(t *testing.T) {
	t.Helper()
	for stream, ops := range h.ops {
		switch porcupine.CheckOperationsTimeout(model(), ops, patience) {
		case porcupine.Illegal:
			t.Errorf("%s: history of %d operations is not linearizable", stream, len(ops))
		case porcupine.Unknown:
			t.Errorf("%s: history of %d operations was not checked to the end", stream, len(ops))
		}
	}
}
