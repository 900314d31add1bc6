package agent

import (
	"errors"
	"strconv"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/caxton-run/caxton/events"
)

// keyed runs an outsider's message under a key.
func (l *life) keyed(n byte, key, body string, now int64) {
	l.tb.Helper()
	r := l.run(outsider(n), events.OutcomeOK)
	r.Key, r.BodyHash, r.Host.NowMicros = key, body, now
	l.do(Finish{Run: r})
}

func TestKeyStandsForItsRequest(t *testing.T) {
	l := newLife(t)
	l.finish(1, events.OutcomeOK)
	if len(l.st.keys.uses) != 0 {
		t.Fatal("a request without a key left one")
	}
	if _, ok := l.st.Key(""); ok {
		t.Fatal("no key stands for a request")
	}
	key := ScopedKey("user:a", "k")
	l.keyed(2, key, "body", begin)
	use, ok := l.st.Key(key)
	if !ok || use.MessageID != messageID(2) || use.BodyHash != "body" || use.Revision != 2 {
		t.Fatalf("key stands for %+v, %v", use, ok)
	}
	if _, ok := l.st.Key(ScopedKey("user:b", "k")); ok {
		t.Fatal("another principal's key is the same")
	}
}

func TestScopedKey(t *testing.T) {
	parts := []string{"", "a", "b", `"`, `a"b`, `\`, "\xff", "\xfe", "\uFFFD", "é", " "}
	seen := map[string]string{}
	for _, principal := range parts {
		if ScopedKey(principal, "") != "" {
			t.Errorf("no key of %q is a key", principal)
		}
		for _, key := range parts[1:] {
			scoped, what := ScopedKey(principal, key), strconv.Quote(principal)+" with "+strconv.Quote(key)
			if !utf8.ValidString(scoped) {
				t.Errorf("%s does not survive JSON: %q", what, scoped)
			}
			if other, ok := seen[scoped]; ok {
				t.Errorf("%s and %s have one key", what, other)
			}
			seen[scoped] = what
		}
	}
}

func TestKeysExpireInRecordedTime(t *testing.T) {
	l := newLife(t)
	l.keyed(1, "old", "", begin)
	l.keyed(2, "young", "", begin+1)
	l.keyed(3, "now", "", begin+KeyLifetimeMicros)
	if _, ok := l.st.Key("old"); !ok {
		t.Fatal("expired a moment early")
	}
	l.finish(9, events.OutcomeOK) // a message without a key changes nothing
	l.keyed(4, "later", "", begin+KeyLifetimeMicros+1)
	if _, ok := l.st.Key("old"); ok {
		t.Fatal("still known after its time")
	}
	for _, key := range []string{"young", "now", "later"} {
		if _, ok := l.st.Key(key); !ok {
			t.Errorf("%q is forgotten too", key)
		}
	}
}

func TestKeyUsedAgainIsYoungAgain(t *testing.T) {
	l := newLife(t)
	l.keyed(1, "a", "one", begin)
	l.keyed(2, "b", "", begin+1)
	l.keyed(3, "a", "two", begin+2)
	same(t, "order", l.st.keys.order, []string{"b", "a"})
	if use, _ := l.st.Key("a"); use.BodyHash != "two" {
		t.Fatalf("key stands for %+v", use)
	}
	l.keyed(4, "c", "", begin+KeyLifetimeMicros+2)
	same(t, "order after b's time", l.st.keys.order, []string{"a", "c"})
}

func TestKeysAreBounded(t *testing.T) {
	var k keyring
	for i := range MaxKeys + 3 {
		k.add(strconv.Itoa(i), KeyUse{AtMicros: begin})
	}
	if len(k.uses) != MaxKeys || len(k.order) != MaxKeys {
		t.Fatalf("remembers %d keys in an order of %d, want %d", len(k.uses), len(k.order), MaxKeys)
	}
	for key, want := range map[string]bool{"0": false, "2": false, "3": true, strconv.Itoa(MaxKeys + 2): true} {
		if _, ok := k.get(key); ok != want {
			t.Errorf("key %s: known is %v", key, ok)
		}
	}
}

func TestInboxOrder(t *testing.T) {
	l := newLife(t)
	end := func(rev events.Revision) {
		r := l.run(outsider(1), events.OutcomeOK)
		r.Inbox = &rev
		l.do(Finish{Run: r})
	}
	done := func() (list []events.Revision) {
		for r := range events.Revision(8) {
			if l.st.InboxDone(r) {
				list = append(list, r)
			}
		}
		return list
	}
	for _, c := range []struct {
		name string
		do   func()
		next events.Revision
		done []events.Revision
	}{
		{"nothing", func() {}, 0, nil},
		{"a later one first", func() { end(2) }, 0, []events.Revision{2}},
		{"the first", func() { end(0) }, 1, []events.Revision{0, 2}},
		{"one that was done", func() { end(0); end(2) }, 1, []events.Revision{0, 2}},
		{"one without an entry", func() { l.finish(5, events.OutcomeOK) }, 1, []events.Revision{0, 2}},
		{"a skipped one closes the gap", func() { l.do(SkipInbox{Event: events.InboxSkipped{Inbox: 1}}) }, 3, []events.Revision{0, 1, 2}},
		{"a skip ahead", func() { l.do(SkipInbox{Event: events.InboxSkipped{Inbox: 4}}) }, 3, []events.Revision{0, 1, 2, 4}},
	} {
		c.do()
		if l.st.InboxNext() != c.next {
			t.Fatalf("%s: next is %d, want %d", c.name, l.st.InboxNext(), c.next)
		}
		same(t, c.name, done(), c.done)
	}
	if len(l.st.inbox.ahead) != 1 {
		t.Fatalf("keeps %d entries ahead, want 1", len(l.st.inbox.ahead))
	}
}

// TestARestartIsRemembered under its key, for as long as a message is.
func TestARestartIsRemembered(t *testing.T) {
	l := newLife(t)
	key := ScopedKey("user:a", "k")
	at := time.UnixMicro(begin)
	first := Restart{Reason: "a cache", Key: key, BodyHash: "body", At: at}
	if out := l.do(first); len(out) != 1 {
		t.Fatalf("%d events", len(out))
	}
	use, ok := l.st.Key(key)
	if !ok || use.BodyHash != "body" || use.Revision != l.st.Revision || use.AtMicros != begin || l.st.SafeLine() != use.Revision {
		t.Fatalf("%+v, %v; events are needed from %d on", use, ok, l.st.SafeLine())
	}
	again := first
	again.At = at.Add(time.Minute)
	if out, err := Decide(l.st, again); err != nil || len(out) != 0 {
		t.Errorf("repeated: %v, %v", out, err)
	}
	again.BodyHash = "other"
	if _, err := Decide(l.st, again); !errors.Is(err, events.ErrKeyReused) {
		t.Errorf("%v, want events.ErrKeyReused", err)
	}
	l.keyed(2, ScopedKey("user:a", "later"), "body", begin+KeyLifetimeMicros+1)
	if _, ok := l.st.Key(key); ok {
		t.Error("it is remembered for ever")
	}
}
