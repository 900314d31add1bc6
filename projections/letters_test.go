package projections

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/caxton-run/caxton/events"
)

// letterLog feeds a fold with letters of one agent.
type letterLog struct {
	t   *testing.T
	l   *Letters
	id  events.AgentID
	rev events.Revision
}

func (x *letterLog) put(p events.Payload) {
	x.rev++
	x.l.Apply(events.Recorded{Stream: events.AgentStream(x.id), Revision: x.rev, Position: events.Position(10 * x.rev)}, p)
}

func (x *letterLog) dead(n byte) {
	x.put(events.MessageDeadLettered{Message: events.Message{ID: events.MessageID{n}, Receiver: "nobody"}, Reason: events.DeadAgentNotFound, Attempts: 1})
}

// ids lists a page's messages by their first byte, and walks all pages.
func (x *letterLog) ids(limit int) string {
	x.t.Helper()
	var out []string
	for cursor := ""; ; {
		page, err := x.l.List(cursor, limit)
		if err != nil {
			x.t.Fatal(err)
		}
		for _, m := range page.Letters {
			out = append(out, fmt.Sprint(m.MessageID[0]))
		}
		if cursor = page.Next; cursor == "" {
			return strings.Join(out, " ")
		}
	}
}

func TestLetters(t *testing.T) {
	x := &letterLog{t: t, l: NewLetters(), id: events.NewAgentID()}
	for n := byte(1); n <= 5; n++ {
		x.dead(n)
	}
	x.put(events.AgentQuarantined{Message: events.Message{ID: events.MessageID{6}}, Outcome: events.OutcomeTimeout, Detail: strings.Repeat("é", 200), Attempts: 3})
	for _, limit := range []int{1, 2, 4, 100} {
		if got := x.ids(limit); got != "6 5 4 3 2 1" {
			t.Errorf("by %d: %s", limit, got)
		}
	}
	q, ok := x.l.Get(events.MessageID{6})
	if !ok || q.Kind != Quarantined || q.Reason != "Timeout" || q.Agent != x.id || len(q.Detail) > maxLetterDetail+3 || !strings.HasSuffix(q.Detail, "é…") {
		t.Errorf("%+v", q)
	}
	x.put(events.DeadLetterRetried{MessageID: events.MessageID{4}})
	x.put(events.DeadLetterRetried{MessageID: events.MessageID{1}})
	x.put(events.DeadLetterRetried{MessageID: events.MessageID{9}}) // unknown
	x.dead(3)                                                       // again
	if got := x.ids(2); got != "3 6 5 2" {
		t.Errorf("after retries: %s", got)
	}
	if _, ok := x.l.Get(events.MessageID{4}); ok || x.l.Len() != 4 {
		t.Errorf("%d letters, the one that was retried is there: %v", x.l.Len(), ok)
	}
	var invalid *events.InvalidError
	if _, err := x.l.List("!", 1); !errors.As(err, &invalid) {
		t.Errorf("%v, want an *events.InvalidError", err)
	}
}

// TestLettersAreBounded: the newest stay, whatever was taken out.
func TestLettersAreBounded(t *testing.T) {
	x := &letterLog{t: t, l: NewLetters(), id: events.NewAgentID()}
	x.l.most = 4
	for n := byte(1); n <= 100; n++ {
		x.dead(n)
		if n%3 == 0 {
			x.put(events.DeadLetterRetried{MessageID: events.MessageID{n - 1}})
		}
	}
	if got := x.ids(3); got != "100 99 97 96" {
		t.Errorf("left: %s", got)
	}
	if len(x.l.list) > 2*x.l.most+2 || x.l.Len() != 4 {
		t.Errorf("%d places for %d letters", len(x.l.list), x.l.Len())
	}
}

// TestLetterOfTwoAgents: a message that its sender gave up while its receiver had it is
// one letter, the newer. While the older one's event is there, the newer one's must
// stay, or a rebuild would show a letter that was retried.
func TestLetterOfTwoAgents(t *testing.T) {
	l := NewLetters()
	sender, receiver := &letterLog{t: t, l: l, id: agentID(1)}, &letterLog{t: t, l: l, id: agentID(2), rev: 4}
	sender.dead(9)
	m := events.Message{ID: events.MessageID{9}}
	receiver.put(events.AgentQuarantined{Message: m})
	receiver.put(events.DeadLetterRetried{MessageID: m.ID})
	oldest := func() map[events.AgentID]events.Revision {
		needed := map[events.AgentID]events.Revision{}
		if !l.Oldest(needed) {
			t.Fatal("not known any more")
		}
		return needed
	}
	if l.Len() != 0 {
		t.Fatalf("%d letters", l.Len())
	}
	same(t, "needed", oldest(), map[events.AgentID]events.Revision{receiver.id: 5})
	sender.put(events.HistoryTrimmed{Before: 1})
	same(t, "needed with the older one there", oldest(), map[events.AgentID]events.Revision{receiver.id: 5})
	sender.put(events.HistoryTrimmed{Before: 2})
	same(t, "needed with the older one gone", oldest(), map[events.AgentID]events.Revision{})
	sender.dead(9)
	same(t, "needed", oldest(), map[events.AgentID]events.Revision{sender.id: 4})
}

// A letter that its own agent's history has given up is none any more, although the log
// has its event still: what ended it, in another agent's history, may be dropped first.
func TestLetterOfATrimmedHistoryIsNone(t *testing.T) {
	m := events.Message{ID: events.MessageID{1}, Receiver: "nobody"}
	sender, receiver := events.NewAgentID(), events.NewAgentID()
	gaveUp := func(l *Letters) {
		l.Apply(events.Recorded{Stream: events.AgentStream(sender), Revision: 1, Position: 1}, events.MessageDeadLettered{Message: m, Attempts: 1})
	}
	gone := func(l *Letters) {
		l.Apply(events.Recorded{Stream: events.AgentStream(sender), Revision: 5, Position: 5}, events.HistoryTrimmed{Before: 2})
	}
	live := NewLetters()
	gaveUp(live)
	live.Apply(events.Recorded{Stream: events.AgentStream(receiver), Revision: 2, Position: 2}, events.AgentQuarantined{Message: m, Attempts: 3})
	live.Apply(events.Recorded{Stream: events.AgentStream(receiver), Revision: 3, Position: 3}, events.DeadLetterRetried{MessageID: m.ID})
	gone(live)
	needed := map[events.AgentID]events.Revision{}
	if !live.Oldest(needed) || len(needed) != 0 {
		t.Fatalf("needed: %v", needed)
	}

	left := NewLetters() // of what a scavenge has left that dropped the receiver's first
	gaveUp(left)
	gone(left)
	if x, ok := left.Get(m.ID); ok || left.Len() != 0 {
		t.Errorf("a letter again: %+v", x)
	}
	if page, err := left.List("", 9); err != nil || len(page.Letters) != 0 {
		t.Errorf("%+v %v", page, err)
	}
}
