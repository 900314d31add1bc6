package actors

import (
	"context"
	"errors"
	"testing"

	"github.com/caxton-run/caxton/events"
)

// TestARestartIsDoneOnce under an Idempotency-Key, also over a start of the node.
func TestARestartIsDoneOnce(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("tally", "tally")
	restart := func(key, reason string) (events.Position, error) {
		return r.Restart(context.Background(), Command{Caller: Caller{Principal: "user:test", IdempotencyKey: key}, Agent: id, Reason: reason})
	}
	first, err := restart("k", "a cache")
	if err != nil {
		t.Fatal(err)
	}
	r.wants(id, `{"op":"add","n":3}`, `{"seen":1,"total":3}`)
	for range 2 {
		if at, err := restart("k", "a cache"); err != nil || at != first {
			t.Errorf("repeated: position %d, %v; want %d", at, err, first)
		}
		r.wants(id, `{"op":"get"}`, `{"seen":1,"total":3}`)
		r.restart()
	}
	if _, err := restart("k", "another cache"); !errors.Is(err, events.ErrKeyReused) {
		t.Errorf("%v, want events.ErrKeyReused", err)
	}
	q := request(id, `{"op":"get"}`)
	q.IdempotencyKey = "k"
	if _, err := r.Send(context.Background(), q); !errors.Is(err, events.ErrKeyReused) {
		t.Errorf("a message under it: %v, want events.ErrKeyReused", err)
	}
	var invalid *events.InvalidError
	if _, err := restart(string(make([]byte, events.MaxKeyLength+1)), ""); !errors.As(err, &invalid) {
		t.Errorf("%v, want an *events.InvalidError", err)
	}
	if n := len(only[events.AgentRestarted](r, events.AgentStream(id))); n != 1 {
		t.Errorf("%d restarts are recorded", n)
	}
	if _, err := restart("k2", ""); err != nil {
		t.Fatal(err)
	}
	r.wants(id, `{"op":"get"}`, `{"seen":0,"total":3}`)
}
