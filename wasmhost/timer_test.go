package wasmhost

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
)

// agentFacts is an AgentReader for tests.
type agentFacts struct {
	last    events.TimerID
	pending []events.TimerID
	skills  []string
}

func (a agentFacts) LastTimer() events.TimerID       { return a.last }
func (a agentFacts) HasTimer(id events.TimerID) bool { return slices.Contains(a.pending, id) }
func (a agentFacts) Timers() int                     { return len(a.pending) }
func (a agentFacts) HasCapability(name string) bool  { return slices.Contains(a.skills, name) }
func (a agentFacts) Capabilities() int               { return len(a.skills) }

// about begins a message of an agent.
func (p *probe) about(agent AgentReader, m *events.Message) {
	p.t.Helper()
	body, err := encodeMessage(nil, m)
	if err != nil {
		p.t.Fatal(err)
	}
	p.in.begin(context.Background(), &Call{Message: m, Fuel: 1 << 40, Agent: agent}, body)
	p.in.call.handling = true
}

func (p *probe) timer(after int64, ptr, n uint64) int64 {
	p.t.Helper()
	v, err := p.call("timer_set", uint64(after), ptr, n)
	if err != nil {
		p.t.Fatal(err)
	}
	return int64(v)
}

func (p *probe) cancel(id events.TimerID) int32 { return p.code("timer_cancel", uint64(id)) }

func TestTimers(t *testing.T) {
	p := newProbe(t, nil, "1")
	set := events.TimerSet{Timer: 6}
	m := set.Message(events.AgentID{1})
	p.about(agentFacts{last: 7, pending: []events.TimerID{3, 6}}, &m)
	ptr, n := p.put(100, `{"a":1}`)
	for _, c := range []struct {
		after  int64
		ptr, n uint64
		want   int64
	}{
		{0, ptr, n, 8},
		{1_000_000, ptr | garbage, n, 9},
		{int64(events.MaxTimerAfter / time.Microsecond), 0, 0, 10},
		{-1, ptr, n, int64(codeInvalid)},
		{math.MinInt64, ptr, n, int64(codeInvalid)},
		{int64(events.MaxTimerAfter/time.Microsecond) + 1, ptr, n, int64(codeInvalid)},
		{1, beyond, 10, int64(codeBadPointer)},
	} {
		if got := p.timer(c.after, c.ptr, c.n); got != c.want {
			t.Errorf("timer_set(%d): %d, want %d", c.after, got, c.want)
		}
	}
	for _, c := range []struct {
		id   events.TimerID
		want int32
	}{
		{3, 0}, {3, codeAbsent}, // once
		{9, 0}, {9, codeAbsent}, // set in this very message
		{6, codeAbsent}, // it fires: that is this message
		{0, codeAbsent}, {-1, codeAbsent}, {1, codeAbsent}, {11, codeAbsent}, {math.MaxInt64, codeAbsent},
	} {
		if got := p.cancel(c.id); got != c.want {
			t.Errorf("timer_cancel(%d): %d, want %d", c.id, got, c.want)
		}
	}
	want := []TimerChange{
		{Timer: 8, After: events.MinTimerAfter, Content: []byte(`{"a":1}`)},
		{Timer: 9, After: time.Second, Content: []byte(`{"a":1}`)},
		{Timer: 10, After: events.MaxTimerAfter, Content: []byte{}},
		{Timer: 3, Cancel: true}, {Timer: 9, Cancel: true},
	}
	if d := cmp.Diff(want, p.in.call.timers.list); d != "" {
		t.Errorf("changes (-want +got):\n%s", d)
	}
}

func TestTimersAreBounded(t *testing.T) {
	p := newProbe(t, nil, "1")
	many := agentFacts{last: 5000}
	for i := range events.MaxTimers - 2 {
		many.pending = append(many.pending, events.TimerID(i+1))
	}
	p.about(many, request("1"))
	for i, want := range []int64{5001, 5002, int64(codeTooLarge)} {
		if got := p.timer(1, 0, 0); got != want {
			t.Errorf("timer %d: %d, want %d", i, got, want)
		}
	}
	if got := p.cancel(7); got != 0 {
		t.Fatalf("cancel: %d", got)
	}
	if got := p.timer(1, 0, 0); got != 5003 {
		t.Errorf("after a cancellation: %d", got)
	}
	if got := p.timer(1, 0, events.MaxMessageContent+1); got != int64(codeBadPointer) {
		t.Errorf("of content beyond the memory: %d", got)
	}
	p.in.call.handling = false
	if got := p.timer(1, 0, 0); got != int64(codeUnavailable) {
		t.Errorf("outside a message: %d", got)
	}
	if got := p.cancel(5003); got != codeUnavailable {
		t.Errorf("cancel outside a message: %d", got)
	}
}

func TestCapabilities(t *testing.T) {
	p := newProbe(t, nil, "1")
	has := agentFacts{skills: []string{"old"}}
	for i := range events.MaxCapabilities - 3 {
		has.skills = append(has.skills, "skill-"+strconv.Itoa(i))
	}
	p.about(has, request("1"))
	for _, c := range []struct {
		name string
		want int32
	}{
		{"old", 0}, {"Text.trans_late/en-2", 0}, {"Text.trans_late/en-2", 0},
		{"", codeInvalid}, {"a b", codeInvalid}, {"é", codeInvalid}, {"a:b", codeInvalid}, {"\x00", codeInvalid}, {"[", codeInvalid},
		{strings.Repeat("x", events.MaxCapabilityLength), 0},
		{strings.Repeat("x", events.MaxCapabilityLength+1), codeTooLarge},
		{"one-more", codeTooLarge}, {"old", 0},
	} {
		ptr, n := p.put(100, c.name)
		if got := p.code("register_capability", ptr, n); got != c.want {
			t.Errorf("register_capability(%q): %d, want %d", c.name, got, c.want)
		}
	}
	if got := p.code("register_capability", beyond, 10); got != codeBadPointer {
		t.Errorf("outside: %d", got)
	}
	if got := p.in.call.registered; len(got) != 2 || got[0] != "Text.trans_late/en-2" {
		t.Errorf("registered %q", got)
	}
}

// TestInitialCapabilities: what a module registers while it is initialised is known
// of its first instance and of those that begin with that one's image.
func TestInitialCapabilities(t *testing.T) {
	h := hostWith(t, nil, false)
	m, err := h.Compile(context.Background(), fixtures.Agent("timer"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Release)
	for i := range 2 {
		if got := start(t, h, m).Capabilities(); !slices.Equal(got, []string{"timer"}) {
			t.Errorf("instance %d: %q", i, got)
		}
	}
}
