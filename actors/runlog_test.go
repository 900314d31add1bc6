package actors

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/caxton-run/caxton/events"
)

func openRunLog(t testing.TB, path string) *RunLog {
	t.Helper()
	l, err := OpenRunLog(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// TestRunLog: what stands in the record when the process ends is known to the next
// one, and counted while it happens in a row.
func TestRunLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "running")
	agent := events.NewAgentID()
	guilty, lucky, done := messageRun(agent, events.NewMessageID()), messageRun(agent, events.NewMessageID()), messageRun(agent, events.NewMessageID())
	l := openRunLog(t, path)
	if len(l.Suspects()) != 0 {
		t.Fatalf("a first start suspects %v", l.Suspects())
	}
	for _, m := range []guestRun{guilty, lucky} {
		l.name(l.take(), m)
	}
	ended := l.take()
	l.name(ended, done)
	l.give(ended)

	l = openRunLog(t, path) // without Close: an unclean end
	if got := l.Suspects(); len(got) != 2 || got[0].Agent != agent || l.strikes(guilty) != 1 || l.strikes(lucky) != 1 || l.strikes(done) != 0 {
		t.Fatalf("%+v", got)
	}
	slot := l.take()
	l.name(slot, lucky)
	l.clears(lucky)
	l.name(slot, guilty) // the same slot: the turn's next message

	l = openRunLog(t, path)
	if n := l.strikes(guilty); n != maxStrikes {
		t.Errorf("%d strikes, want %d", n, maxStrikes)
	}
	l.clears(guilty)
	if n := l.strikes(guilty); n != 0 {
		t.Errorf("%d strikes after it ended well", n)
	}
}

// TestARunLogFindsWhatRanLast and nothing older; a clean end forgets what was cleared.
func TestARunLogFindsWhatRanLast(t *testing.T) {
	path := filepath.Join(t.TempDir(), "running")
	agent := events.NewAgentID()
	cleared, kept := messageRun(agent, events.NewMessageID()), messageRun(agent, events.NewMessageID())
	unclean(t, path, 1, cleared, kept)

	l := openRunLog(t, path)
	if got := l.Found(); len(got) != 2 || got[0].Message != cleared.id || got[1].Message != kept.id {
		t.Fatalf("found %+v, want both", got)
	}
	l.clears(cleared)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}

	l = openRunLog(t, path)
	if got := l.Found(); len(got) != 0 {
		t.Errorf("after a clean end: found %+v", got)
	}
	if got := l.Suspects(); len(got) != 1 || got[0].Message != kept.id {
		t.Errorf("suspects are %+v, want the one that was not cleared", got)
	}
}

// TestADamagedRunLogAccusesNobody, and a start goes on.
func TestADamagedRunLogAccusesNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "running")
	l := openRunLog(t, path)
	l.name(l.take(), messageRun(events.NewAgentID(), events.NewMessageID()))
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flipped := append([]byte(nil), good...)
	flipped[runSlotSize+3] ^= 1
	for name, b := range map[string][]byte{"a flipped bit": flipped, "another version": append([]byte("x"), good...), "short": good[:runSlotSize+9], "empty": nil} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path+".suspects", []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := openRunLog(t, path).Suspects(); len(got) != 0 {
			t.Errorf("%s: suspects %v", name, got)
		}
	}
}

// TestRunLogIsBounded: with no slot left, a message runs unnamed.
func TestRunLogIsBounded(t *testing.T) {
	l := openRunLog(t, filepath.Join(t.TempDir(), "running"))
	for range runSlots {
		if l.take() == 0 {
			t.Fatal("a slot is missing")
		}
	}
	slot := l.take()
	if slot != 0 {
		t.Errorf("slot %d", slot)
	}
	l.name(slot, messageRun(events.NewAgentID(), events.NewMessageID()))
	l.give(slot)
	var none *RunLog
	none.name(none.take(), guestRun{})
	if none.strikes(guestRun{}) != 0 || none.Suspects() != nil || none.Close() != nil {
		t.Error("a nil record does something")
	}
}

// TestAMessageThatEndedTheProcessTwice is quarantined and not run; others go on.
func TestAMessageThatEndedTheProcessTwice(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("echo", "echo")
	if err := r.command(r.Suspend, id); err != nil {
		t.Fatal(err)
	}
	sent := r.ask(id, `"deadly"`)
	r.ask(id, `"harmless"`)
	path := filepath.Join(t.TempDir(), "running")
	for range maxStrikes {
		l := openRunLog(t, path)
		l.name(l.take(), messageRun(id, sent.MessageID))
	}
	r.running = openRunLog(t, path)
	r.restart()
	if err := r.command(r.Resume, id); err != nil {
		t.Fatal(err)
	}
	r.workedOff()
	set := only[events.AgentQuarantined](r, events.AgentStream(id))
	if len(set) != 1 || set[0].Message.ID != sent.MessageID || set[0].Outcome != events.OutcomeNodeCrash || set[0].Attempts != maxStrikes {
		t.Errorf("quarantined: %+v", set)
	}
	if n := len(only[events.MessageHandled](r, events.AgentStream(id))); n != 1 {
		t.Errorf("%d messages handled, want the harmless one", n)
	}
	if again := r.retry(sent.MessageID); again.Status != Queued { // an operator's word counts more
		t.Errorf("retry: %s", again.Status)
	}
	r.eventually("it is handled", func() bool { return len(only[events.MessageHandled](r, events.AgentStream(id))) == 2 })
	for slot := range readRunning(t, path) {
		t.Errorf("slot %d is in use when nothing runs", slot)
	}
}

func readRunning(t *testing.T, path string) []Suspect {
	t.Helper()
	list, err := readRuns(path)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// BenchmarkRunLog is what a message pays that is run alone in its turn.
func BenchmarkRunLog(b *testing.B) {
	l := openRunLog(b, filepath.Join(b.TempDir(), "running"))
	what := messageRun(events.NewAgentID(), events.NewMessageID())
	for b.Loop() {
		slot := l.take()
		l.name(slot, what)
		l.give(slot)
	}
}
