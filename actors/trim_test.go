package actors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
	"github.com/caxton-run/caxton/replay"
)

// aged is a rig whose agents have snapshots and a history worth trimming.
func aged(t *testing.T, change func(*rig)) (*rig, events.AgentID) {
	t.Helper()
	r := newRigWith(t, func(r *rig) {
		r.cfg.SnapshotEvery = 100
		if change != nil {
			change(r)
		}
	})
	id := r.deploy("counter", "counter-rust", func(d *DeployRequest) {
		d.IdempotencyKey, d.Labels = "made", events.Labels{"team": "blue"}
	})
	r.count(id, 450)
	return r, id
}

// count has a counter handle so many messages.
func (r *rig) count(id events.AgentID, n int) {
	r.t.Helper()
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range n / 4 {
				if sent, err := r.Send(context.Background(), request(id, `{"op":"add","n":1}`)); err != nil || sent.Status != Handled {
					r.t.Errorf("%s %v", sent.Status, err)
					return
				}
			}
		})
	}
	group.Wait()
	for range n % 4 {
		r.ask(id, `{"op":"add","n":1}`)
	}
	r.caughtUp(r.ask(id, `{"op":"add","n":0}`).Position)
}

// trim has a pass over all histories give up whatever is not needed.
func (r *rig) trim() Trimmed {
	r.t.Helper()
	done, err := r.sys.TrimHistories(context.Background(), 0)
	if err != nil {
		r.t.Fatal(err)
	}
	return done
}

// scavenged drops what is hidden.
func (r *rig) scavenged() pebblestore.Scavenged {
	r.t.Helper()
	done, err := r.log.Scavenge(context.Background(), pebblestore.ScavengeOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	return done
}

// view is what readers see of an agent but for when its history was trimmed.
func (r *rig) view(id events.AgentID) string {
	r.t.Helper()
	v, ok := r.agents.Get(id)
	if !ok {
		r.t.Fatalf("agent %s is gone", id)
	}
	b, err := json.Marshal(v)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b)
}

// TestTrimHistories: old events go, and a node that starts on what is left shows the
// same, and has the same agents, again and again.
func TestTrimHistories(t *testing.T) {
	r, id := aged(t, nil)
	total := 450
	for round := range 3 {
		before := r.view(id)
		done := r.trim()
		if done.Agents != 1 || done.Events < trimMin || done.Kept != 0 {
			t.Fatalf("round %d: %+v", round, done)
		}
		after, _ := r.agents.Get(id)
		if uint64(after.HistoryFrom) < done.Events {
			t.Fatalf("round %d: history from %d after %d events are given up", round, after.HistoryFrom, done.Events)
		}
		after.Revision--
		after.HistoryFrom, after.HistoryRemovedAt = 0, nil
		var was map[string]any
		if err := json.Unmarshal([]byte(before), &was); err != nil {
			t.Fatal(err)
		}
		b, _ := json.Marshal(after)
		var is map[string]any
		if err := json.Unmarshal(b, &is); err != nil {
			t.Fatal(err)
		}
		delete(was, "history_from_revision")
		delete(was, "history_removed_at")
		if fmt.Sprint(is) != fmt.Sprint(was) {
			t.Errorf("round %d: the agent shows as\n%v\nand was\n%v", round, is, was)
		}
		if again := r.trim(); again.Agents != 0 {
			t.Fatalf("round %d: %+v at once again", round, again)
		}
		if dropped := r.scavenged(); dropped.Events < done.Events {
			t.Fatalf("round %d: %d events dropped of %d hidden", round, dropped.Events, done.Events)
		}
		shown := r.view(id)
		r.restart()
		if got := r.view(id); got != shown {
			t.Errorf("round %d: after a start the agent shows as\n%s\nand was\n%s", round, got, shown)
		}
		total++
		r.wants(id, `{"op":"add","n":1}`, fmt.Sprintf(`{"count":%d}`, total))
		r.count(id, 400)
		total += 400
	}
	bases := 0
	for _, err := range r.log.ReadStream(context.Background(), events.BaseStream(id), events.ReadStreamOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		bases++
	}
	if bases != 1 {
		t.Errorf("%d bases are kept", bases)
	}
	if v, err := r.log.Verify(context.Background(), func(fault error) { t.Error(fault) }, nil); err != nil {
		t.Errorf("%+v %v", v, err)
	}
}

// TestTrimmedAgentWithoutSnapshots: whatever becomes of later snapshots, the base and
// the events that are left are the agent.
func TestTrimmedAgentWithoutSnapshots(t *testing.T) {
	r, id := aged(t, nil)
	if done := r.trim(); done.Agents != 1 {
		t.Fatalf("%+v", done)
	}
	r.count(id, 350) // snapshots that nobody has confirmed
	r.end()
	log, err := pebblestore.Open(r.dir, pebblestore.DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	_, err = log.Delete(context.Background(), events.SnapshotStream(id), events.StreamExists())
	if err = errors.Join(err, log.Close()); err != nil {
		t.Fatal(err)
	}
	r.start()
	r.wants(id, `{"op":"add","n":0}`, `{"count":800}`)
}

// TestTrimmedDeploymentIsRepeated: the request that made an agent is known by its key
// although its event is gone, and another request under that key too.
func TestTrimmedDeploymentIsRepeated(t *testing.T) {
	r, id := aged(t, nil)
	made := r.agents
	v, _ := made.Get(id)
	if r.trim().Agents != 1 {
		t.Fatal("not trimmed")
	}
	r.scavenged()
	r.restart()
	if got := r.deploy("counter", "counter-rust", func(d *DeployRequest) {
		d.IdempotencyKey, d.Labels = "made", events.Labels{"team": "blue"}
	}); got != id {
		t.Errorf("the same request made %s", got)
	}
	if now, _ := r.agents.Get(id); !now.CreatedAt.Equal(v.CreatedAt) {
		t.Errorf("created at %s, was %s", now.CreatedAt, v.CreatedAt)
	}
	q := DeployRequest{Caller: Caller{Principal: "user:test", IdempotencyKey: "made"}, Name: "other", Wasm: []byte("\x00asm\x01\x00\x00\x00"), Limits: events.DefaultLimits()}
	if _, err := r.Deploy(context.Background(), q); !errors.Is(err, events.ErrKeyReused) {
		t.Errorf("another request: %v", err)
	}
}

// TestTrimKeepsWhatIsNeeded: the answer to a key within its time, and sends, timers and
// letters that are open.
func TestTrimKeepsWhatIsNeeded(t *testing.T) {
	var ahead atomic.Int64 // of the wall clock
	r, id := aged(t, func(r *rig) {
		r.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	keyed := request(id, `{"op":"add","n":1}`)
	keyed.IdempotencyKey = "k"
	first, err := r.Send(context.Background(), keyed)
	if err != nil {
		t.Fatal(err)
	}
	var answered events.Revision
	for i, p := range r.payloads(events.AgentStream(id)) {
		if h, ok := p.(events.MessageHandled); ok && h.IdempotencyKey != "" {
			answered = events.Revision(i)
		}
	}
	r.count(id, 400)
	if done := r.trim(); done.Agents != 1 {
		t.Fatalf("what stands before the key's answer: %+v", done)
	}
	if v, _ := r.agents.Get(id); v.HistoryFrom > answered {
		t.Fatalf("history from %d, the key's answer is at %d", v.HistoryFrom, answered)
	}
	if done := r.trim(); done.Agents != 0 {
		t.Fatalf("the key's answer was given up: %+v", done)
	}
	again, err := r.Send(context.Background(), keyed)
	if err != nil || contentOf(again.Reply) != contentOf(first.Reply) {
		t.Fatalf("the key's answer: %s %v, want %s", contentOf(again.Reply), err, contentOf(first.Reply))
	}
	ahead.Store(int64(25 * time.Hour))
	r.ask(id, `{"op":"add","n":1}`)
	r.count(id, 200)
	if done := r.trim(); done.Agents != 1 {
		t.Fatalf("a day later: %+v", done)
	}
	if _, err := r.Send(context.Background(), keyed); !errors.Is(err, events.ErrConflict) || !strings.Contains(err.Error(), "is gone") {
		t.Fatalf("a key past its time whose answer is gone: %v", err)
	}
	r.wants(id, `{"op":"add","n":0}`, `{"count":1052}`)
}

// TestTrimInterrupted: a pass that ends before or after any of its writes leaves agents
// as they are, and the next one goes on.
func TestTrimInterrupted(t *testing.T) {
	for _, when := range []string{"before", "after"} {
		for write := range 3 { // the base, the event, the metadata
			t.Run(fmt.Sprintf("%s write %d", when, write), func(t *testing.T) {
				r, id := aged(t, nil)
				broken := errors.New("the process ends")
				var count atomic.Int64
				fault := func(s events.Stream) error {
					of := s
					if m, ok := s.MetadataOf(); ok {
						of = m
					}
					if of.Category() == events.CategorySnapshot {
						return nil
					}
					if count.Add(1)-1 >= int64(write) {
						return broken
					}
					return nil
				}
				if when == "before" {
					r.store.fail(fault, nil)
				} else {
					r.store.fail(nil, fault)
				}
				_, err := r.sys.TrimHistories(context.Background(), 0)
				if err != nil {
					t.Fatal(err)
				}
				if n := count.Load(); n <= int64(write) {
					t.Fatalf("a pass has %d writes", n)
				}
				r.restart() // whose store has no faults
				r.scavenged()
				r.wants(id, `{"op":"add","n":0}`, `{"count":450}`)
				r.trim()
				r.scavenged()
				v, _ := r.agents.Get(id)
				trim, ok, err := events.Trimmed(context.Background(), r.log, id)
				if err != nil || !ok || trim.Before != v.HistoryFrom || v.HistoryFrom < trimMin {
					t.Fatalf("after the next pass %+v %v %v, and the view says from %d", trim, ok, err, v.HistoryFrom)
				}
				r.restart()
				r.wants(id, `{"op":"add","n":0}`, `{"count":450}`)
			})
		}
	}
}

// TestTrimLeavesAlone those that do not run, have no snapshots, or nothing old.
func TestTrimLeavesAlone(t *testing.T) {
	r, id := aged(t, nil)
	if done, err := r.sys.TrimHistories(context.Background(), time.Hour); err != nil || done.Agents+done.Events+done.Kept != 0 {
		t.Errorf("nothing is an hour old: %+v %v", done, err)
	}
	at, err := r.Suspend(context.Background(), Command{Agent: id})
	if err != nil {
		t.Fatal(err)
	}
	r.caughtUp(at)
	if done := r.trim(); done.Agents+done.Events+done.Kept != 0 {
		t.Errorf("it is suspended: %+v", done)
	}
	if at, err = r.Resume(context.Background(), Command{Agent: id}); err != nil {
		t.Fatal(err)
	}
	r.caughtUp(at)
	r.stopAll(StopAllRequest{})
	if _, err := r.sys.TrimHistories(context.Background(), 0); !errors.Is(err, events.ErrEmergencyStop) {
		t.Errorf("during an emergency stop: %v", err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := r.sys.TrimHistories(ended, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("ended: %v", err)
	}
}

// TestTrimNeedsTheFirstEvent: of a history that somebody else has cut, nobody can say
// how it began; it is left as it is.
func TestTrimNeedsTheFirstEvent(t *testing.T) {
	r, id := aged(t, nil)
	if _, err := r.log.SetStreamMetadata(context.Background(), events.AgentStream(id), events.NoStream(), events.StreamMetadata{TruncateBefore: 3}); err != nil {
		t.Fatal(err)
	}
	if done := r.trim(); done.Agents != 0 || done.Kept != 1 {
		t.Errorf("%+v", done)
	}
	if got := only[events.HistoryTrimmed](r, events.AgentStream(id)); len(got) != 0 {
		t.Errorf("wrote %+v", got)
	}
}

// TestTrimReplaysAWrongHistoryOnce: what a replay did not come to once, it does not come to
// at the next pass either. The history is kept, and said to be, without the work.
func TestTrimReplaysAWrongHistoryOnce(t *testing.T) {
	r, id := aged(t, nil)
	st, err := r.sys.source.State(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	data, _, err := r.sys.source.Newest(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	_, earlier, err := replay.DecodeSnapshot(data...)
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := replay.EncodeSnapshot(st, earlier) // than the state
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.log.Append(context.Background(), events.SnapshotStream(id), events.Any(), wrong...); err != nil {
		t.Fatal(err)
	}
	var read atomic.Int64
	r.before = func() {
		r.store.Store = reads{r.log, events.AgentStream(id), func() { read.Add(1) }}
	}
	r.restart()
	for pass, most := range []int64{trimMin + 900, trimMin + 100} {
		read.Store(0)
		if done := r.trim(); done.Agents != 0 || done.Kept != 1 {
			t.Errorf("pass %d: %+v", pass, done)
		}
		if n := read.Load(); n > most || pass == 0 && n < trimMin+450 {
			t.Errorf("pass %d read %d events", pass, n)
		}
	}
	if _, err := r.Restart(context.Background(), Command{Agent: id}); err != nil {
		t.Fatal(err)
	}
	r.count(id, 450)
	if done := r.trim(); done.Agents != 1 || done.Kept != 0 {
		t.Errorf("after the agent began anew: %+v", done)
	}
}

// TestUnconfirmed: what a replay came to is known until the agent begins anew, also if
// that is while it is replayed; what may be otherwise the next time is not kept.
func TestUnconfirmed(t *testing.T) {
	var u unconfirmed
	id, wrong := events.NewAgentID(), error(&replay.UnconfirmedError{What: "state"})
	for i, step := range []struct {
		err   error
		anew  bool // while it is replayed
		known bool // at the next pass
	}{{nil, false, false}, {errors.New("disk"), false, false}, {wrong, true, false}, {wrong, false, true}} {
		if err := u.begin(id); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		if step.anew {
			u.forget(id)
		}
		u.end(id, step.err)
		if known := len(u.why) == 1; known != step.known {
			t.Errorf("step %d: known %v", i, known)
		}
	}
	if err := u.begin(id); !errors.Is(err, wrong) {
		t.Error(err)
	}
	if u.forget(id); u.begin(id) != nil {
		t.Error("it is known after it began anew")
	}
}

// TestTrimOfARemovedAgent leaves no base behind: nobody would ever ask for it.
func TestTrimOfARemovedAgent(t *testing.T) {
	r, id := aged(t, nil)
	v, _ := r.agents.Get(id)
	c, ok, err := r.sys.source.Confirm(context.Background(), id, 0)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	at, err := r.Remove(context.Background(), Command{Agent: id})
	if err != nil {
		t.Fatal(err)
	}
	r.caughtUp(at)
	p := trimPass{sys: r.sys, before: time.Now(), settled: 1 << 62}
	if err := p.give(context.Background(), v, 0, c.Older+1, c); err != nil {
		t.Fatal(err)
	}
	if got := r.payloads(events.BaseStream(id)); len(got) != 0 {
		t.Errorf("%d events in the base stream", len(got))
	}
}

// TestRemovedAgentIsForgotten: what a replay of its history came to is of no use then.
func TestRemovedAgentIsForgotten(t *testing.T) {
	r, id := aged(t, nil)
	if err := r.sys.unconfirmed.begin(id); err != nil {
		t.Fatal(err)
	}
	r.sys.unconfirmed.end(id, &replay.UnconfirmedError{What: "state"})
	if _, err := r.Remove(context.Background(), Command{Agent: id}); err != nil {
		t.Fatal(err)
	}
	if n := len(r.sys.unconfirmed.why); n != 0 {
		t.Errorf("%d agents are remembered", n)
	}
}

// TestTrimOfTooMuchToCarry: an agent that has more to carry over than a HistoryTrimmed
// can keeps its history, and nothing is written at each pass to find that out.
func TestTrimOfTooMuchToCarry(t *testing.T) {
	r, id := aged(t, nil)
	at, _ := r.agents.Get(id)
	var list []events.Event
	for i := range 8200 { // entries of the inbox that are handled out of their order
		ahead := events.Revision(2*i + 1)
		ev, err := events.Encode(events.NewEventID(), events.MessageFailed{
			Message: events.Message{ID: events.MessageID(events.NewEventID()), Sender: "user:ada", Receiver: id.String(), Performative: "request"},
			Outcome: events.OutcomeExpired, Detail: "late", Inbox: &ahead, Module: at.Module,
		}, events.Metadata{})
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, ev)
	}
	for part := range slices.Chunk(list, 500) {
		if _, err := r.log.Append(context.Background(), events.AgentStream(id), events.Any(), part...); err != nil {
			t.Fatal(err)
		}
	}
	r.restart()
	r.count(id, 450)
	for pass := range 2 {
		if done := r.trim(); done.Agents != 0 || done.Kept != 1 {
			t.Errorf("pass %d: %+v", pass, done)
		}
		for rec, err := range r.log.ReadStream(context.Background(), events.BaseStream(id), events.ReadStreamOptions{}) {
			if !errors.Is(err, events.ErrStreamNotFound) {
				t.Errorf("pass %d: %s@%d was written, %v", pass, rec.Stream, rec.Revision, err)
			}
		}
	}
}
