package actors

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
)

// game is a ping and a pong of its own.
type game struct{ ping, pong events.AgentID }

// games deploys so many, whose balls are in flight: there is no room for them. It
// returns them with the streams of all pongs.
func (r *rig) games(n int, room *closet) (list []game, pongs map[events.Stream]bool) {
	r.t.Helper()
	pongs = make(map[events.Stream]bool)
	for i := range n {
		g := game{r.deploy(fmt.Sprint("ping", i), "ping"), r.deploy(fmt.Sprint("pong", i), "pong")}
		if err := r.command(r.Suspend, g.pong); err != nil {
			r.t.Fatal(err)
		}
		r.play(g.ping, g.pong.String(), 1)
		list, pongs[events.AgentStream(g.pong)] = append(list, g), true
	}
	r.eventually("all balls are in flight", func() bool { return r.flight.Len() == n })
	room.low.Store(true)
	for _, g := range list {
		if err := r.command(r.Resume, g.pong); err != nil {
			r.t.Fatal(err)
		}
	}
	return list, pongs
}

// endOf waits until all games have ended, each with one ball.
func (r *rig) endOf(list []game) {
	r.t.Helper()
	r.eventually("nothing is in flight", func() bool { return r.flight.Len() == 0 })
	for _, g := range list {
		if n := len(r.ends(g.pong)); n != 1 {
			r.t.Errorf("agent %s handled %d balls, want 1", g.pong, n)
		}
	}
}

// TestSendsAreCarriedAFewAtATime, however many pairs wait for room.
func TestSendsAreCarriedAFewAtATime(t *testing.T) {
	const atOnce = 3
	r, room := paced(t, atOnce, time.Hour)
	list, pongs := r.games(4*atOnce, room)
	gate := r.store.hold(pongs)
	room.regain()
	r.until("as many are carried as may be", func() bool { return gate.writing.Load() == atOnce })
	r.until("the others wait", func() bool {
		d := r.sys.dispatcher
		d.mu.Lock()
		defer d.mu.Unlock()
		return len(d.queue) == len(list)-atOnce
	})
	close(gate.open)
	r.endOf(list)
	if n := gate.most.Load(); n != atOnce {
		t.Errorf("%d were carried at a time, want %d", n, atOnce)
	}
}

// TestASlowReceiverKeepsNoPlace from the sends to others.
func TestASlowReceiverKeepsNoPlace(t *testing.T) {
	r, room := paced(t, 1, time.Millisecond)
	list, pongs := r.games(3, room)
	var writing atomic.Int64
	open := make(chan struct{})
	r.store.fail(func(s events.Stream) error {
		if pongs[s] {
			writing.Add(1)
			<-open
		}
		return nil
	}, nil)
	room.regain()
	r.until("all are carried", func() bool { return writing.Load() == 3 })
	close(open)
	r.endOf(list)
}

// TestAPauseKeepsNoPlace: a receiver whose mailbox is full keeps nobody waiting, and
// gets its send in the end.
func TestAPauseKeepsNoPlace(t *testing.T) {
	r, room := paced(t, 1, time.Hour, func(r *rig) { r.cfg.MailboxSize, r.cfg.SpillAfter = 1, patience })
	list, _ := r.games(2, room)
	full := list[0].pong
	hook, reached, open := gate(events.AgentStream(full))
	r.store.fail(hook, nil)
	offer := func() {
		env, err := newMessage(request(full, `{"ball":1}`), r.cfg.MaxContent)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = r.sys.registry.offer(full, env); err != nil {
			t.Fatal(err)
		}
	}
	offer()
	<-reached
	offer()
	room.regain()
	r.eventually("the other ball arrives", func() bool { return len(r.ends(list[1].pong)) == 1 })
	close(open)
	r.eventually("nothing is in flight", func() bool { return r.flight.Len() == 0 })
	if n := len(r.ends(full)); n != 3 {
		t.Errorf("it handled %d messages, want 3", n)
	}
}

// sent is a log in which every event is one that sent this.
type sent struct {
	events.Store
	message events.Message
}

// ReadStream implements events.Store.
func (s sent) ReadStream(_ context.Context, to events.Stream, o events.ReadStreamOptions) iter.Seq2[events.Recorded, error] {
	return func(yield func(events.Recorded, error) bool) {
		ev, err := events.Encode(events.NewEventID(), events.MessageHandled{Sends: []events.Message{s.message}}, events.Metadata{})
		yield(events.Recorded{Event: ev, Stream: to, Revision: o.From}, err)
	}
}

// TestABatchIsBoundedInBytes: a courier holds no more of large sends than it carries
// in a round, and at least one.
func TestABatchIsBoundedInBytes(t *testing.T) {
	for size, want := range map[int]int{10: sendBatch, sendBatchBytes / 4: 4, sendBatchBytes: 1} {
		m := events.Message{Performative: events.Inform, Content: fmt.Appendf(nil, "%q", strings.Repeat("x", size-2))}
		var next []projections.Sent
		for i := range sendBatch {
			next = append(next, projections.Sent{Sequence: uint64(i + 1), Revision: events.Revision(i)})
		}
		d := newDispatcher(&System{deps: Deps{Store: sent{message: m}}})
		list, err := d.load(context.Background(), events.NewAgentID(), next)
		if err != nil || len(list) != want {
			t.Errorf("of sends of %d bytes %d are carried, %v; want %d", size, len(list), err, want)
		}
	}
}
