package http

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
)

// remember gives an agent a history of n events of size bytes beside its first.
func (r *running) remember(id events.AgentID, n, size int) {
	s := events.AgentStream(id)
	for i := range n {
		r.node.history[s] = append(r.node.history[s], events.Recorded{Stream: s, Revision: events.Revision(i + 1),
			Event: events.Event{Type: events.TypeModuleChunk, ContentType: events.Binary, Data: bytes.Repeat([]byte{byte(i)}, size)}})
	}
}

// settles waits until no answer is counted any more.
func (r *running) settles(t *testing.T) {
	t.Helper()
	for late := time.Now().Add(20 * time.Second); r.server.answers.Load() != 0; runtime.Gosched() {
		if time.Now().After(late) {
			t.Fatalf("%d bytes of answers are never given back", r.server.answers.Load())
		}
	}
}

// TestSlowReadersOfHistory: however many ask for a page and do not take it, each
// costs a few events and not the page.
func TestSlowReadersOfHistory(t *testing.T) {
	const readers, size = 8, 400 << 10
	r := start(t, nil)
	r.remember(r.deploy(t, "big"), 8, size)
	var conns []*bufio.Reader
	for range readers {
		c, br := r.dial(t)
		if _, err := fmt.Fprintf(c, "GET %s/agents/big/events HTTP/1.1\r\nHost: localhost\r\n\r\n", base); err != nil {
			t.Fatal(err)
		}
		if _, err := br.Peek(1); err != nil { // the answer has begun
			t.Fatal(err)
		}
		conns = append(conns, br)
	}
	const event = size*4/3 + 1024 // as base64
	if n := r.server.answers.Load(); n > readers*2*event {
		t.Errorf("%d readers hold %d bytes, %d each", readers, n, n/readers)
	}
	want := get(t, r, base+"/agents/big/events").body
	for _, br := range conns {
		if got := reply(t, br, "GET"); got.status != 200 || got.body != want {
			t.Errorf("%d, %d bytes, want 200 and %d", got.status, len(got.body), len(want))
		}
	}
	r.settles(t)
}

func written(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestPagesAreWhole: a page that is read while it is taken is the one that would
// have been made at once, in either direction.
func TestPagesAreWhole(t *testing.T) {
	r := start(t, nil)
	id := r.deploy(t, "a")
	r.remember(id, 60, 10<<10)
	all := r.node.history[events.AgentStream(id)]
	for _, dir := range []events.Direction{events.Forwards, events.Backwards} {
		var want, got []string
		for i := range all {
			if dir == events.Backwards {
				i = len(all) - 1 - i
			}
			want = append(want, written(t, storedEvent(all[i])))
		}
		for q := (&EventQuery{Direction: dir, Limit: 50}); q != nil; {
			page, next, err := r.Events(context.Background(), "a", *q)
			if err != nil {
				t.Fatal(err)
			}
			for _, ev := range page {
				got = append(got, written(t, ev))
			}
			q = next
		}
		if !slices.Equal(want, got) {
			t.Errorf("direction %d: %d events, want %d, or others", dir, len(got), len(want))
		}
	}
	if got := exchange(t, r, http.MethodHead, base+"/agents/a/events", ""); got.status != 200 || got.body != "" {
		t.Errorf("HEAD: %d, %d bytes", got.status, len(got.body))
	}
	r.settles(t)
}

// TestAnswersInFlight: when readers take too little, further large answers are
// refused; small ones and changes are answered.
func TestAnswersInFlight(t *testing.T) {
	r := start(t, nil)
	id := r.deploy(t, "a")
	r.deploy(t, "small")
	r.remember(id, 4, 200<<10)
	r.node.mu.Lock()
	r.node.modules[r.node.agents[id].Module] = make([]byte, 2*answerFree)
	r.node.mu.Unlock()
	r.server.answers.Add(r.server.cfg.MaxBytesInFlight) // as if others held it all
	for _, path := range []string{"/agents/a/events", "/agents/a/module"} {
		got := get(t, r, base+path)
		wantProblem(t, got, http.StatusServiceUnavailable, CodeOverloaded)
		if got.header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", path)
		}
	}
	if got := get(t, r, base+"/agents/small/events"); got.status != 200 {
		t.Errorf("a small answer: %d", got.status)
	}
	big := `{"content":"` + string(bytes.Repeat([]byte{'x'}, 2*answerFree)) + `"}`
	if got := post(t, r, base+"/agents/a/messages?wait=1s", big); got.status != 200 || len(got.body) < 2*answerFree {
		t.Errorf("the answer of a change: %d, %d bytes", got.status, len(got.body))
	}
	r.server.answers.Add(-r.server.cfg.MaxBytesInFlight)
	if got := get(t, r, base+"/agents/a/module"); got.status != 200 || len(got.body) != 2*answerFree {
		t.Errorf("the module afterwards: %d, %d bytes", got.status, len(got.body))
	}
	r.settles(t)
}

// TestPageThatBreaksOff: a page whose rest cannot be read ends early, so that
// nobody takes it for the whole.
func TestPageThatBreaksOff(t *testing.T) {
	r := start(t, func(_ *Config, d *Deps) { d.History = &breaking{History: d.History} })
	r.remember(r.deploy(t, "a"), 4, 200<<10)
	_, _, err := r.Events(context.Background(), "a", EventQuery{})
	var unreadable *UnreachableError
	if !errors.As(err, &unreadable) {
		t.Errorf("%v, want an unreadable answer", err)
	}
	r.settles(t)
}

// breaking is a history that can be read once.
type breaking struct {
	History
	read bool
}

// ReadStream implements History.
func (b *breaking) ReadStream(ctx context.Context, s events.Stream, o events.ReadStreamOptions) iter.Seq2[events.Recorded, error] {
	if b.read {
		return func(yield func(events.Recorded, error) bool) { yield(events.Recorded{}, events.ErrClosed) }
	}
	b.read = true
	return b.History.ReadStream(ctx, s, o)
}
