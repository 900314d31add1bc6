package actors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/wasmhost"
)

// TestLargeContent: what does not fit an event goes into a blob and comes out of it
// for the guest, its replay and whoever asked.
func TestLargeContent(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxContent = 2 << 20 })
	generous := func(d *DeployRequest) { d.Limits.MaxFuel = 10_000_000_000 }
	id := r.deploy("echo", "echo", generous)
	text := `"` + strings.Repeat("long ", 300_000) + `"`
	says := func(content string) {
		t.Helper()
		sent := r.ask(id, content)
		if sent.Status != Handled || string(sent.Reply.Content) != content || sent.Reply.Blob != nil {
			t.Fatalf("%s, %.100s", sent.Status, contentOf(sent.Reply))
		}
	}
	says(text)
	h := only[events.MessageHandled](r, events.AgentStream(id))[0]
	if h.Message.Blob == nil || h.Reply.Blob == nil || *h.Message.Blob != *h.Reply.Blob || h.Message.ContentSize() != 0 {
		t.Errorf("message %+v, reply %+v", h.Message.Blob, h.Reply.Blob)
	}
	if h.Host.ContentLimit != 2<<20 {
		t.Errorf("the record says %d bytes of content", h.Host.ContentLimit)
	}
	req := request(id, text) // by way of the inbox
	req.Wait, req.IdempotencyKey = 0, "once"
	if err := r.command(r.Suspend, id); err != nil {
		t.Fatal(err)
	}
	if sent, err := r.Send(t.Context(), req); err != nil || sent.Status != Held {
		t.Fatalf("%+v, %v", sent, err)
	}
	// A replay of a node that allows less goes the way the run went.
	r.cfg.MaxContent = events.MaxMessageContent
	r.restart()
	if err := r.command(r.Resume, id); err != nil {
		t.Fatal(err)
	}
	r.workedOff()
	says(`"short"`)
	held := only[events.MessageHandled](r, events.AgentStream(id))[1]
	if held.Reply != nil || held.Host.ContentLimit != 0 { // the host said -4, and echo does not look
		t.Errorf("an echo beyond the new limit: %+v, limit %d", held.Reply, held.Host.ContentLimit)
	}
	var tooLarge = request(id, text)
	if _, err := r.Send(t.Context(), tooLarge); !errors.Is(err, events.ErrContentTooLarge) {
		t.Errorf("got %v, want ErrContentTooLarge", err)
	}
}

// TestAgentsSendLargeContent to one another, and the answer comes back.
func TestAgentsSendLargeContent(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxContent = events.MaxContentCeiling })
	generous := func(d *DeployRequest) { d.Limits.MaxFuel = 50_000_000_000 }
	relay := r.deploy("relay", "relay", generous)
	r.deploy("echo", "echo", generous)
	const n = 1_000_000
	say, err := json.Marshal(strings.Repeat("x", n))
	if err != nil {
		t.Fatal(err)
	}
	r.ask(relay, fmt.Sprintf(`{"to":"echo","say":%s}`, say))
	r.eventually("the echo comes back", func() bool {
		return len(only[events.MessageHandled](r, events.AgentStream(relay))) == 2 && r.flight.Len() == 0
	})
	r.restart()
	r.wants(relay, `{}`, fmt.Sprintf(`{"heard":%d}`, n+2))
	for _, h := range only[events.MessageHandled](r, events.AgentStream(relay)) {
		for _, m := range h.Sends {
			if m.Blob == nil || m.Blob.Size != n+2 || !m.Blob.JSON {
				t.Errorf("sent %+v", m.Blob)
			}
		}
	}
}

// TestFailedBlobsLoseNothing: a message whose content cannot be stored is not
// accepted, and a turn whose effects cannot is decided again.
func TestFailedBlobsLoseNothing(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxContent = 1 << 20 })
	id := r.deploy("echo", "echo", func(d *DeployRequest) { d.Limits.MaxFuel = 10_000_000_000 })
	text := `"` + strings.Repeat("x", 400_000) + `"`
	blob := events.BlobStream(events.HashBlob([]byte(text)))
	boom := errors.New("boom")
	r.store.fail(times(1, blob, boom), nil)
	if _, err := r.Send(t.Context(), request(id, text)); !errors.Is(err, boom) {
		t.Errorf("got %v, want the store's error", err)
	}
	r.store.fail(nil, times(3, blob, events.ErrUnknownOutcome))
	if sent := r.ask(id, text); sent.Status != Handled || string(sent.Reply.Content) != text {
		t.Errorf("%s, %.100s", sent.Status, contentOf(sent.Reply))
	}
}

// TestRefusedContentIsNotStored: a message that is refused leaves nothing in the log,
// however large it is.
func TestRefusedContentIsNotStored(t *testing.T) {
	text := `"` + strings.Repeat("x", 400_000) + `"`
	blob := events.BlobStream(events.HashBlob([]byte(text)))
	forced := func(r *rig, id events.AgentID) {
		if _, err := r.OrderBreaker(t.Context(), BreakerRequest{Scope: events.AgentScope(id), Activate: true}); err != nil {
			t.Fatal(err)
		}
	}
	removed := func(r *rig, id events.AgentID) {
		if _, err := r.Remove(t.Context(), Command{Agent: id}); err != nil {
			t.Fatal(err)
		}
	}
	full := func(r *rig, id events.AgentID) {
		r.hold(id, request(id, `0`))
		r.eventually("it stands in the inbox", func() bool { return r.inboxes.Len() == 1 })
	}
	for name, c := range map[string]struct {
		stand func(r *rig, id events.AgentID)
		want  error
	}{
		"stopped":    {func(r *rig, id events.AgentID) { r.stop(id, false, 0) }, events.ErrAgentStopped},
		"failed":     {func(r *rig, id events.AgentID) { r.write(id, events.AgentFailed{Reason: "test"}) }, events.ErrAgentFailed},
		"removed":    {removed, events.ErrAgentNotFound},
		"full inbox": {full, events.ErrMailboxFull},
		"breaker":    {forced, events.ErrBreakerOpen},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.MaxContent, c.InboxSize = 1<<20, 1 })
			id := r.deploy("echo", "echo")
			c.stand(r, id)
			if err := r.sys.caughtUp(t.Context()); err != nil {
				t.Fatal(err)
			}
			if s, err := r.Send(t.Context(), request(id, text)); !errors.Is(err, c.want) {
				t.Errorf("%s, %v; want %v", s.Status, err, c.want)
			}
			if n := r.store.offered(blob); n != 0 {
				t.Errorf("%d appends to %s", n, blob)
			}
		})
	}
}

// TestAFullMailboxStoresNoContent that it refuses.
func TestAFullMailboxStoresNoContent(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxContent, c.MailboxSize, c.SpillAfter = 1<<20, 1, time.Minute })
	id := r.deploy("echo", "echo")
	hook, busy, free := gate(events.AgentStream(id))
	r.store.fail(hook, nil)
	var g sync.WaitGroup
	g.Go(func() { r.ask(id, `1`) })
	<-busy
	g.Go(func() { r.ask(id, `2`) })
	r.waitDepth(2)
	text := `"` + strings.Repeat("x", 400_000) + `"`
	if s, err := r.Send(t.Context(), request(id, text)); !errors.Is(err, events.ErrMailboxFull) {
		t.Errorf("%s, %v; want events.ErrMailboxFull", s.Status, err)
	}
	if n := r.store.offered(events.BlobStream(events.HashBlob([]byte(text)))); n != 0 {
		t.Errorf("%d appends of its content", n)
	}
	close(free)
	g.Wait()
}

// TestALargeRequestRepeated finds its answer, though its agent takes no new ones.
func TestALargeRequestRepeated(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxContent = 1 << 20 })
	id := r.deploy("echo", "echo", func(d *DeployRequest) { d.Limits.MaxFuel = 10_000_000_000 })
	q := keyed(id, `"`+strings.Repeat("x", 400_000)+`"`, "k")
	first, err := r.Send(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	r.stop(id, false, 0)
	again, err := r.Send(t.Context(), q)
	if err != nil || again.MessageID != first.MessageID || contentOf(again.Reply) != contentOf(first.Reply) {
		t.Errorf("%s %v, want what it was answered first", again.Status, err)
	}
}

// TestAnInterruptedReadIsNoCrash: a run that is stopped while the host reads the message's
// content for it counts as if it had not been, like one that is stopped later.
func TestAnInterruptedReadIsNoCrash(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxContent = 1 << 20 })
	id := r.deploy("echo", "echo")
	a := newAgentActor(r.sys, id, NewMailbox(1))
	if err := a.load(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	defer a.forget()
	m := events.Message{ID: events.NewMessageID(), Performative: events.Request}
	m.SetContent(fmt.Appendf(nil, "%q", strings.Repeat("x", events.MaxMessageContent)))
	if err := events.StoreContent(t.Context(), r.log, &m); err != nil || m.Blob == nil {
		t.Fatal(err, m.Blob)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if out := a.handle(stopped, &m, wasmhost.Call{Fuel: 1}); out.Status != events.OutcomeKilled {
		t.Errorf("%s: %s; want %s", out.Status, out.Detail, events.OutcomeKilled)
	}
}

// TestContentThatNestsTooDeep is refused: in an event it would not be read, and whoever
// folds the log would stop there for good.
func TestContentThatNestsTooDeep(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("echo", "echo")
	var invalid *events.InvalidError
	for _, depth := range []int{events.MaxContentDepth + 1, 9999, 10_000} {
		deep := strings.Repeat("[", depth) + strings.Repeat("]", depth)
		if sent, err := r.Send(t.Context(), request(id, deep)); !errors.As(err, &invalid) {
			t.Errorf("depth %d: %s, %v", depth, sent.Status, err)
		}
	}
	deepest := strings.Repeat("[", events.MaxContentDepth) + strings.Repeat("]", events.MaxContentDepth)
	sent, err := r.Send(t.Context(), request(id, deepest))
	if err != nil || sent.Status != Handled {
		t.Fatal(sent.Status, err)
	}
	r.caughtUp(sent.Position)
	if _, err := r.sys.source.State(t.Context(), id); err != nil {
		t.Error(err)
	}
}
