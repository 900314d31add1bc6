package actors

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
)

// waiting makes an envelope of a priority that arrived at second n.
func waiting(p events.Priority, n int) *envelope {
	e := newEnvelope()
	e.message.Priority, e.message.ConversationID = p, fmt.Sprint(p, n)
	e.arrived = time.Unix(int64(n), 0)
	return e
}

func popped(q *queue, n int) string {
	var out []string
	for range n {
		out = append(out, q.pop().message.ConversationID)
	}
	return strings.Join(out, " ")
}

func TestQueueByPriority(t *testing.T) {
	var q queue
	for i, p := range []events.Priority{events.Low, events.Normal, events.Critical, events.High, events.Normal, events.Critical} {
		q.push(waiting(p, i))
	}
	if got := popped(&q, 4); got != "critical2 critical5 high3 normal1" {
		t.Errorf("took %s", got)
	}
	q.unpop([]*envelope{waiting(events.High, 3), waiting(events.Normal, 1)})
	if got := popped(&q, q.len()); got != "high3 normal1 normal4 low0" {
		t.Errorf("put back and took %s", got)
	}
}

// TestQueueStarvesNobody: whatever comes in, each eighth message is the one that has
// waited longest.
func TestQueueStarvesNobody(t *testing.T) {
	var q queue
	q.push(waiting(events.Low, 0))
	q.push(waiting(events.Low, 1))
	for i := range 100 {
		q.push(waiting(events.Critical, 2+i))
	}
	got := strings.Split(popped(&q, 3*oldestEvery), " ")
	if at := slices.Index(got, "low0"); at != oldestEvery-1 {
		t.Errorf("the first of low priority came at %d", at)
	}
	if at := slices.Index(got, "low1"); at != 2*oldestEvery-1 {
		t.Errorf("the second of low priority came at %d", at)
	}
}

// TestUrgentMessagesPass: of what waits for an agent, the critical is handled first,
// of each priority in order, from its inbox too.
func TestUrgentMessagesPass(t *testing.T) {
	for _, suspended := range []bool{false, true} {
		r := newRig(t, nil)
		id := r.deploy("echo", "echo")
		hook, reached, open := gate(events.AgentStream(id))
		if suspended {
			if err := r.command(r.Suspend, id); err != nil {
				t.Fatal(err)
			}
		} else {
			r.store.fail(hook, nil)
			go r.Send(t.Context(), request(id, "0"))
			<-reached
		}
		done := make(chan error, 6)
		for i, p := range []events.Priority{events.Low, "", events.Critical, "", events.Critical, events.High} {
			req := request(id, fmt.Sprint(i+1))
			req.Message.Priority, req.Wait = p, 0
			if suspended {
				if _, err := r.Send(t.Context(), req); err != nil {
					t.Fatal(err)
				}
				continue
			}
			go func() { _, err := r.Send(t.Context(), req); done <- err }()
			r.waitDepth(i + 2)
		}
		if suspended {
			if err := r.command(r.Resume, id); err != nil {
				t.Fatal(err)
			}
		} else {
			close(open)
			for range 6 {
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
		}
		r.eventually("all are handled", func() bool {
			return len(only[events.MessageHandled](r, events.AgentStream(id))) >= 6 && r.inboxes.Len() == 0
		})
		var got []string
		for _, h := range only[events.MessageHandled](r, events.AgentStream(id)) {
			if c := string(h.Message.Content); c != "0" {
				got = append(got, c)
			}
		}
		if want := "3 5 6 2 4 1"; strings.Join(got, " ") != want {
			t.Errorf("suspended %v: handled %s, want %s", suspended, strings.Join(got, " "), want)
		}
	}
}

// TestAMessageRightBehindADeployment is queued like any other, though the projection may
// not have seen the agent yet.
func TestAMessageRightBehindADeployment(t *testing.T) {
	r := newRig(t, func(c *Config) { c.SpillAfter = time.Millisecond })
	for i := range 20 {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		d, err := r.Deploy(ctx, DeployRequest{Name: fmt.Sprint("spin-", i), Wasm: hostile(t, "spin"), Limits: events.LimitCeilings()})
		if err != nil {
			t.Fatal(err)
		}
		q := request(d.ID, `1`)
		q.Wait = 0
		if sent, err := r.Send(ctx, q); err != nil || sent.Status != Queued {
			t.Fatalf("%s, %v; want it queued", sent.Status, err)
		}
		if _, err := r.Stop(ctx, StopRequest{Command: Command{Agent: d.ID}}); err != nil {
			t.Fatal(err)
		}
	}
}
