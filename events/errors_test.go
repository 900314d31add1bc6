package events

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestTypedErrors(t *testing.T) {
	id := NewAgentID()
	cases := []struct {
		err  error
		is   error
		text string
	}{
		{&WrongRevisionError{Stream: "a-1", Expected: Exact(3), Actual: 5, Exists: true}, nil, "stream a-1: expected revision 3, found 5"},
		{&WrongRevisionError{Stream: "a-1", Expected: StreamExists()}, nil, "stream a-1: expected revision stream exists, found no stream"},
		{&CorruptError{Where: "position 7", Reason: "CRC"}, ErrCorrupt, "corrupt data: position 7: CRC"},
		{&AmbiguousError{Ref: "x", Matches: []AgentID{id}}, ErrAmbiguousAgent, `"x" matches more than one agent: ` + id.String()},
		{&RefusedError{Rule: "too_many_locals", Detail: "9 > 8"}, nil, "module refused: too_many_locals: 9 > 8"},
		{&HistoryRemovedError{Agent: id, Before: 7, At: time.Unix(0, 0)}, ErrHistoryRemoved,
			"agent " + id.String() + ": history before revision 7 was removed by events.retention on 1970-01-01T00:00:00Z"},
		{&HistoryRemovedError{Agent: id, Before: 7, Cause: ErrOverloaded}, ErrOverloaded,
			"agent " + id.String() + ": history before revision 7 was removed by events.retention at a time not recorded, and is needed because: overloaded"},
		{&BreakerOpenError{Scope: ScopeAll, Stands: "open"}, ErrBreakerOpen, "the circuit breaker all is open"},
		{&BreakerOpenError{Scope: ScopeAll, Stands: "half-open"}, ErrBreakerOpen, "the circuit breaker all is half-open: one message is tried, and this is not it"},
		{&BreakerOpenError{Scope: ScopeAll, Stands: "recovering"}, ErrBreakerOpen,
			"the circuit breaker all is recovering: it lets a share of the messages through, and not this one"},
		{Invalidf("f", "must be %d", 1), nil, "f must be 1"},
	}
	for _, c := range cases {
		if c.err.Error() != c.text {
			t.Errorf("%q, want %q", c.err, c.text)
		}
		wrapped := fmt.Errorf("outer: %w", c.err)
		if c.is != nil && (!errors.Is(wrapped, c.is) || errors.Is(wrapped, ErrReadOnly)) {
			t.Errorf("%v is not only %v", wrapped, c.is)
		}
	}
}

func TestFaults(t *testing.T) {
	var f Faults
	if f.Merge("x", nil); f.Err() != nil {
		t.Errorf("no fault: %v", f.Err())
	}
	f.Add("a", "must be %d", 1)
	f.Merge("ignored", fmt.Errorf("wrapped: %w", &InvalidError{Fields: []FieldError{{"b", "is bad"}, {"c", "is worse"}}}))
	f.Merge("d", errors.New("broke"))
	if got := f.Err().Error(); got != "a must be 1; b is bad; c is worse; d broke" {
		t.Errorf("got %q", got)
	}
	if field(t, f.Err()) != strings.Join([]string{"a", "b", "c", "d"}, " ") {
		t.Error("fields are lost")
	}
}
