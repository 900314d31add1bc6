package actors

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
	"github.com/caxton-run/caxton/projections"
	"github.com/caxton-run/caxton/replay"
)

func (r *rig) stopAll(q StopAllRequest) StoppedAll {
	r.t.Helper()
	q.Principal = "user:test"
	got, err := r.StopAll(context.Background(), q)
	if err != nil {
		r.t.Fatal(err)
	}
	if n := r.sys.licence.Load().guests.Load(); n != 0 {
		r.t.Fatalf("%d guests run", n)
	}
	return got
}

func (r *rig) lift() {
	r.t.Helper()
	if lifted, err := r.LiftStop(context.Background(), Caller{Principal: "user:test"}); err != nil || !lifted {
		r.t.Fatalf("lifted: %v, %v", lifted, err)
	}
}

// TestEmergencyStop: a guest that spins ends, what waited stands in inboxes, nothing
// runs over a restart, and after the lift everything is handled, once and in order.
func TestEmergencyStop(t *testing.T) {
	r := newRig(t, nil)
	spin, kv := r.spinning(), r.deploy("kv", "kv")
	r.wants(kv, `{"op":"put","key":"k","value":-1}`, `{"ok":true}`)
	var group sync.WaitGroup
	sent := make([]Sent, 2)
	for i := range sent {
		group.Go(func() {
			q := request(spin, fmt.Sprint(i))
			q.Wait = 0
			var err error
			if sent[i], err = r.Send(context.Background(), q); err != nil {
				t.Error(err)
			}
		})
	}
	r.working(2)
	r.until("the guest runs", func() bool { return r.sys.licence.Load().guests.Load() == 1 })
	got := r.stopAll(StopAllRequest{Reason: "smoke"})
	group.Wait()
	if got.Guests != 1 || got.Spilled != 2 || got.Left != 0 || got.Agents != 2 {
		t.Errorf("%+v, want 1 guest, 2 messages of 2 agents", got)
	}
	for i := range 3 {
		if s := r.ask(kv, fmt.Sprintf(`{"op":"put","key":"k","value":%d}`, i)); s.Status != Held {
			t.Errorf("%s, want %s", s.Status, Held)
		}
	}
	if d, err := r.Drain(context.Background(), patience, true); err != nil || !d.Empty() || d.Discarded != 0 {
		t.Errorf("drained what is held: %+v, %v", d, err)
	}
	again := r.stopAll(StopAllRequest{})
	if !again.Since.Equal(got.Since) || again.Guests != 0 {
		t.Errorf("stopped again: %+v", again)
	}
	r.restart()
	if r.sys.StoppedSince().IsZero() {
		t.Fatal("a restart lifts it")
	}
	if s := r.ask(kv, `{"op":"put","key":"k","value":3}`); s.Status != Held {
		t.Errorf("%s, want %s", s.Status, Held)
	}
	if n := len(only[events.MessageHandled](r, events.AgentStream(kv))); n != 1 {
		t.Errorf("%d messages handled, want 1", n)
	}
	if _, err := r.Deploy(context.Background(), DeployRequest{Name: "x", Wasm: fixtures.Agent("echo"), Limits: events.DefaultLimits()}); !errors.Is(err, events.ErrEmergencyStop) {
		t.Errorf("deploy: %v, want events.ErrEmergencyStop", err)
	}
	if err := r.command(r.Remove, spin); err != nil {
		t.Fatal(err)
	}
	r.lift()
	r.wants(kv, `{"op":"get","key":"k"}`, `{"found":true,"value":3}`)
	handled := only[events.MessageHandled](r, events.AgentStream(kv))
	for i := range 4 {
		if want := fmt.Sprintf(`{"op":"put","key":"k","value":%d}`, i); string(handled[i+1].Message.Content) != want {
			t.Errorf("message %d was %s, want %s", i, handled[i+1].Message.Content, want)
		}
	}
	if crashed := only[events.AgentCrashed](r, events.AgentStream(spin)); len(crashed) > 0 {
		t.Errorf("being stopped counts as a crash: %+v", crashed)
	}
	types := ""
	for _, p := range r.payloads(events.EmergencyStream()) {
		types += string(p.EventType()) + " "
	}
	if types != "EmergencyStopped EmergencyLifted " {
		t.Errorf("recorded %s", types)
	}
	if lifted, err := r.LiftStop(context.Background(), Caller{}); lifted || err != nil {
		t.Errorf("lifted again: %v, %v", lifted, err)
	}
}

// TestEmergencyStopAmongAgents: stopped and lifted again and again, a game between two
// agents comes to its end with no ball lost.
func TestEmergencyStopAmongAgents(t *testing.T) {
	r := newRig(t, nil)
	ping, pong := r.deploy("ping", "ping"), r.deploy("pong", "pong")
	const rounds = 100
	r.play(ping, "pong", rounds)
	for i := range 10 {
		r.stopAll(StopAllRequest{})
		if i == 5 {
			r.restart()
		}
		r.lift()
	}
	balls := func() int { return len(only[events.MessageHandled](r, events.AgentStream(pong))) }
	r.eventually("the game ends", func() bool { return balls() >= rounds })
	r.eventually("ping knows", func() bool { return r.flight.Len() == 0 })
	if n := balls(); n != rounds || !r.over(ping) {
		t.Errorf("%d balls, over: %v", n, r.over(ping))
	}
}

// TestEmergencyStopUnderLoad: whatever was acknowledged is handled once.
func TestEmergencyStopUnderLoad(t *testing.T) {
	r := newRig(t, nil)
	const agents, senders, each = 4, 8, 30
	var ids []events.AgentID
	for i := range agents {
		ids = append(ids, r.deploy(fmt.Sprint("counter", i), "counter-c"))
	}
	var group sync.WaitGroup
	for s := range senders {
		group.Go(func() {
			for i := range each {
				q := request(ids[(s+i)%agents], `{"op":"add","n":1}`)
				q.Wait = 0
				if _, err := r.Send(context.Background(), q); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 8 {
		r.stopAll(StopAllRequest{})
		r.lift()
	}
	group.Wait()
	handled := func() int {
		n := 0
		for _, id := range ids {
			n += len(only[events.MessageHandled](r, events.AgentStream(id)))
		}
		return n
	}
	r.eventually("all are handled", func() bool { return handled() >= senders*each })
	if n := handled(); n != senders*each {
		t.Errorf("%d handled, want %d", n, senders*each)
	}
}

// TestDump: the files are enough to rebuild an agent.
func TestDump(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "backup")
	r := newRig(t, func(c *Config) { c.SnapshotEvery = 10; c.DumpDirs = []string{"/nowhere", dir} })
	id, echo := r.deploy("counter", "counter-c"), r.deploy("echo", "echo")
	for range 25 {
		r.ask(id, `{"op":"add","n":1}`)
	}
	got := r.stopAll(StopAllRequest{})
	r.ask(echo, `"kept"`)
	got = r.stopAll(StopAllRequest{DumpTo: filepath.Join(dir, "deep", "er")})
	if got.DumpFailed != nil || got.Dump.Agents != 2 {
		t.Fatalf("%+v", got)
	}
	agents, lines, sum := readDump(t, got.Dump.Dir)
	var m struct {
		Version, Agents, Lines int

		SHA256 string `json:"agents_sha256"`
	}
	b, err := os.ReadFile(filepath.Join(got.Dump.Dir, "manifest.json"))
	if err != nil || json.Unmarshal(b, &m) != nil || m.Version != dumpVersion || m.Agents != 2 || m.Lines != lines || m.SHA256 != sum {
		t.Errorf("manifest %s, %v; the file's digest is %s", b, err, sum)
	}
	counter, kept := agents[id], agents[echo]
	st, _, err := replay.DecodeSnapshot(counter.snapshot...)
	if err != nil || st.ID != id {
		t.Fatalf("snapshot: %v", err)
	}
	for _, e := range counter.events {
		p, err := events.Decode(events.Event{ID: e.ID, Type: e.Type, Data: e.Data, Metadata: e.Metadata})
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Apply(e.Revision, p); err != nil {
			t.Fatal(err)
		}
	}
	if st.Handled != 25 {
		t.Errorf("rebuilt with %d messages, want 25", st.Handled)
	}
	if len(kept.inbox) != 1 || kept.snapshot != nil || len(kept.events) != 1 {
		t.Errorf("echo: %+v", kept)
	}
	for _, l := range agents {
		wasm, err := os.ReadFile(filepath.Join(got.Dump.Dir, "modules", string(l.view.Module)))
		if err != nil || events.HashModule(wasm) != l.view.Module {
			t.Errorf("module of %s: %v", l.view.Name, err)
		}
	}
}

// dumped is an agent as a dump has it.
type dumped struct {
	view          projections.AgentView
	snapshot      [][]byte
	events, inbox []DumpedEvent
}

// readDump returns a dump's agents, the number of its lines and their digest.
func readDump(t *testing.T, dir string) (map[events.AgentID]*dumped, int, string) {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "agents.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	sum, lines := sha256.New(), 0
	out := make(map[events.AgentID]*dumped)
	var last *dumped
	for in := bufio.NewReader(f); ; lines++ {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return out, lines, hex.EncodeToString(sum.Sum(nil))
		}
		_, _ = sum.Write(line) // never fails
		var l DumpLine
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatal(err)
		}
		switch {
		case l.Agent != nil:
			last = &dumped{view: *l.Agent}
			out[l.Agent.ID] = last
		case l.Snapshot != nil:
			last.snapshot = append(last.snapshot, l.Snapshot)
		case l.Event != nil:
			last.events = append(last.events, *l.Event)
		case l.Inbox != nil:
			last.inbox = append(last.inbox, *l.Inbox)
		}
	}
}

// behind counts the lines that are written and the events that are read for them.
type behind struct {
	*faultyStore
	lines, read, most int
}

func (b *behind) Write(p []byte) (int, error) {
	b.lines += bytes.Count(p, []byte("\n"))
	return len(p), nil
}

func (b *behind) ReadStream(ctx context.Context, s events.Stream, o events.ReadStreamOptions) iter.Seq2[events.Recorded, error] {
	return func(yield func(events.Recorded, error) bool) {
		for rec, err := range b.Store.ReadStream(ctx, s, o) {
			if err == nil { // a stream that is not there has no event
				b.read++
			}
			b.most = max(b.most, b.read-b.lines)
			if !yield(rec, err) {
				return
			}
		}
	}
}

// TestADumpHoldsOneEvent: each is written before the next is read, however long the
// history.
func TestADumpHoldsOneEvent(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("counter", "counter-c")
	for range 25 {
		r.ask(id, `{"op":"add","n":1}`)
	}
	b := &behind{faultyStore: r.store}
	d := dumper{sys: &System{deps: Deps{Store: b, Inboxes: r.inboxes, Agents: r.agents}, source: replay.Source{Store: b}}, known: make(map[events.ModuleHash]bool)}
	v, _ := r.agents.Get(id)
	if err := d.agent(context.Background(), json.NewEncoder(b), v); err != nil {
		t.Fatal(err)
	}
	if b.read < 25 || b.most > 1 {
		t.Errorf("%d events were read, up to %d ahead of what was written", b.read, b.most)
	}
	d.stop = newLicence(context.Background())
	defer d.stop.cancel()
	if err := d.all(context.Background(), b); !errors.Is(err, events.ErrConflict) {
		t.Errorf("of a stop that was lifted: %v, want events.ErrConflict", err)
	}
}

// TestDumpStaysInside: no path leads out of what is configured, and none keeps agents
// from being stopped.
func TestDumpStaysInside(t *testing.T) {
	base := t.TempDir()
	dir, out := filepath.Join(base, "backup"), filepath.Join(base, "out")
	for _, d := range []string{dir, out} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(out, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(c *Config) { c.DumpDirs = []string{dir} })
	r.deploy("echo", "echo")
	for _, to := range []string{"relative", "/", out, dir + "/../out", dir + "/link", dir + "/link/x", dir + "x"} {
		if got := r.stopAll(StopAllRequest{DumpTo: to}); got.DumpFailed == nil {
			t.Errorf("%s: dumped to %s", to, got.Dump.Dir)
		}
		r.lift()
	}
	if left, err := os.ReadDir(out); err != nil || len(left) > 0 {
		t.Errorf("outside are now %v, %v", left, err)
	}
}

// TestEmergencyStopOfHostileGuests: whatever a guest does, it is stopped, and its
// message is kept.
func TestEmergencyStopOfHostileGuests(t *testing.T) {
	r := newRig(t, func(c *Config) { c.SpillAfter = time.Millisecond })
	var ids []events.AgentID
	for _, h := range fixtures.Hostile() {
		q := DeployRequest{Name: h.Name, Wasm: h.Wasm, Limits: events.LimitCeilings()}
		d, err := r.Deploy(context.Background(), q)
		if err != nil {
			continue // refused by the gate, or does not start
		}
		ids = append(ids, d.ID)
		m := request(d.ID, `1`)
		m.Wait = 0
		if _, err := r.Send(context.Background(), m); err != nil {
			t.Fatalf("%s: %v", h.Name, err)
		}
	}
	if len(ids) < 5 {
		t.Fatalf("only %d hostile guests could be deployed", len(ids))
	}
	if got := r.stopAll(StopAllRequest{}); got.Left != 0 {
		t.Errorf("%+v", got)
	}
	for _, id := range ids {
		for _, p := range r.payloads(events.AgentStream(id)) {
			if c, ok := p.(events.AgentCrashed); ok && c.Outcome == events.OutcomeKilled {
				t.Errorf("being stopped counts against %s", id)
			}
		}
		if err := r.command(r.Remove, id); err != nil {
			t.Error(err)
		}
	}
	r.lift()
}

// TestEmergencyStopWithoutALog: the button works though nothing can be written; once it
// can, pressing it again makes the stop outlive a restart.
func TestEmergencyStopWithoutALog(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("echo", "echo")
	r.wants(id, `1`, `1`)
	r.store.fail(times(1, events.EmergencyStream(), events.ErrReadOnly), nil)
	if got := r.stopAll(StopAllRequest{}); !errors.Is(got.Unrecorded, events.ErrReadOnly) {
		t.Errorf("%+v", got)
	}
	if s := r.ask(id, `2`); s.Status != Held {
		t.Errorf("%s, want %s", s.Status, Held)
	}
	if got := r.stopAll(StopAllRequest{}); got.Unrecorded != nil {
		t.Error(got.Unrecorded)
	}
	r.restart()
	if r.sys.StoppedSince().IsZero() {
		t.Error("a restart lifts it")
	}
	r.store.fail(times(1, events.EmergencyStream(), events.ErrReadOnly), nil)
	if _, err := r.LiftStop(context.Background(), Caller{}); !errors.Is(err, events.ErrReadOnly) || r.sys.StoppedSince().IsZero() {
		t.Errorf("lifted without a log: %v", err)
	}
	r.lift()
	r.wants(id, `3`, `3`)
}

// TestAStopBlocksNobody: while a stop is being recorded, and while it waits for
// mailboxes, its time can be read; a lift ends the waiting.
func TestAStopBlocksNobody(t *testing.T) {
	r := newRig(t, func(c *Config) { c.SpillAfter = patience })
	id := r.deploy("echo", "echo")
	record, recording, recorded := gate(events.EmergencyStream())
	spill, spilling, spilled := gate(events.InboxStream(id))
	r.store.fail(func(s events.Stream) error { return errors.Join(record(s), spill(s)) }, nil)
	since := func() {
		t.Helper()
		told := make(chan time.Time, 1)
		go func() { told <- r.sys.StoppedSince() }()
		select {
		case at := <-told:
			if at.IsZero() {
				t.Error("no stop is in force")
			}
		case <-time.After(patience):
			t.Fatal("the time of the stop cannot be read")
		}
	}
	stopped := make(chan error, 1)
	go func() {
		_, err := r.StopAll(context.Background(), StopAllRequest{Caller: Caller{Principal: "user:test"}})
		stopped <- err
	}()
	<-recording
	since()
	sent := make(chan Sent, 1)
	go func() { sent <- r.ask(id, `1`) }()
	<-spilling // the turn holds it
	close(recorded)
	r.until("the stop is recorded", func() bool { return len(r.payloads(events.EmergencyStream())) == 1 })
	since()
	r.lift()
	if err := <-stopped; !errors.Is(err, events.ErrConflict) {
		t.Errorf("%v, want events.ErrConflict: it was lifted", err)
	}
	close(spilled)
	<-sent
	r.eventually("the message is handled", func() bool { return len(r.ends(id)) == 1 })
}

// TestAStopThatIsLiftedWhileGuestsRun says so, though its own time ended too: whoever asked
// must not take it to be in force.
func TestAStopThatIsLiftedWhileGuestsRun(t *testing.T) {
	r := newRig(t, nil)
	l := r.sys.licence.Load()
	if !l.take() { // as a guest that does not come to the end of its slice
		t.Fatal("no guest may run")
	}
	defer l.leave()
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() {
		_, err := r.StopAll(ctx, StopAllRequest{})
		stopped <- err
	}()
	r.until("the stop is recorded", func() bool { return len(r.payloads(events.EmergencyStream())) == 1 })
	r.lift()
	cancel()
	if err := <-stopped; !errors.Is(err, events.ErrConflict) {
		t.Errorf("%v, want events.ErrConflict", err)
	}
}

// TestAStopAfterALiftOfUnknownOutcome is recorded anew: what the log holds by then may be
// the lift, and a restart goes by the log.
func TestAStopAfterALiftOfUnknownOutcome(t *testing.T) {
	r := newRig(t, nil)
	if _, err := r.StopAll(context.Background(), StopAllRequest{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.store.fail(nil, func(s events.Stream) error { // written, and the caller is gone before it is told
		if s != events.EmergencyStream() {
			return nil
		}
		cancel()
		return events.ErrUnknownOutcome
	})
	if lifted, err := r.LiftStop(ctx, Caller{}); lifted || !errors.Is(err, events.ErrUnknownOutcome) {
		t.Fatalf("lifted %v, %v; want events.ErrUnknownOutcome", lifted, err)
	}
	r.store.fail(nil, nil)
	if s, err := r.StopAll(context.Background(), StopAllRequest{}); err != nil || s.Unrecorded != nil {
		t.Fatalf("%v, %v", err, s.Unrecorded)
	}
	r.restart()
	if !r.sys.halted() {
		t.Error("agents run after a restart, though all were stopped")
	}
}

// TestARevokedLicenceHasEndedItsRuns: a guest that finds it revoked was interrupted, at
// whatever point of the revocation it looks; else its run would count as a crash.
func TestARevokedLicenceHasEndedItsRuns(t *testing.T) {
	l := newLicence(context.Background())
	at := time.Now()
	l.revoked.Store(&at) // and revoke comes no further for now
	if l.take() || l.ctx.Err() == nil {
		t.Error("it lets a guest run, or the run's context goes on")
	}
}

// TestALiftEndsTheRunsOfTheLicenceBefore, though whoever revoked that has not come to it:
// a mailbox goes on with the context that it has while that has not ended, and the next
// stop would not end it.
func TestALiftEndsTheRunsOfTheLicenceBefore(t *testing.T) {
	r := newRig(t, nil)
	l, at := r.sys.licence.Load(), time.Now()
	l.revoked.Store(&at)
	r.lift()
	if l.ctx.Err() == nil {
		t.Error("guests may go on under the licence that was revoked")
	}
}
