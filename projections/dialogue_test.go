package projections

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
)

// line reads "a>b propose" as a message from a to b; "#x" behind it is its reply_with,
// "@x" its in_reply_to.
func line(t *testing.T, text string) *events.Message {
	t.Helper()
	words := strings.Fields(text)
	from, to, _ := strings.Cut(words[0], ">")
	performative := words[1]
	p, err := events.ParsePerformative(performative)
	if err != nil {
		t.Fatal(err)
	}
	m := &events.Message{Performative: p, Sender: from, Receiver: to}
	for _, w := range words[2:] {
		if tag, ok := strings.CutPrefix(w, "#"); ok {
			m.ReplyWith = tag
		} else {
			m.InReplyTo = strings.TrimPrefix(w, "@")
		}
	}
	return m
}

// Each protocol, told as a script: what is said, and where each exchange stands
// then.
func TestDialogues(t *testing.T) {
	for _, c := range []struct{ said, want string }{
		{"a>b request", "a>b requested"},
		{"a>b request, b>a inform", "a>b done"},
		{"a>b request, b>a agree, b>a inform", "a>b done"},
		{"a>b request, b>a agree, b>a failure", "a>b failed"},
		{"a>b request, b>a refuse", "a>b refused"},
		{"a>b request, b>a refuse, b>a inform", "a>b refused"},
		{"a>b request, b>a not_understood", "a>b not_understood"},
		{"a>b request, a>b cancel", "a>b cancelled"},
		{"a>b request, b>a propose", "a>b requested"},
		{"a>b request, b>a inform, a>b request", "a>b requested"},
		{"a>b query_if, b>a inform", "a>b done"},
		{"a>b query_ref, b>a agree", "a>b agreed"},
		{"a>b query", "a>b asked"},
		{"a>b inform", ""},
		{"a>b cfp, b>a propose, a>b accept_proposal, b>a inform", "a>b done"},
		{"a>b cfp, b>a propose, a>b accept_proposal, b>a failure", "a>b failed"},
		{"a>b cfp, b>a propose, a>b reject_proposal", "a>b rejected"},
		{"a>b cfp, b>a propose, b>a propose", "a>b proposed"},
		{"a>b cfp, b>a inform", "a>b called"},
		{"a>b cfp, a>b accept_proposal", "a>b called"},
		{"a>b cfp, a>c cfp, b>a propose, c>a refuse, a>b accept_proposal", "a>b accepted, a>c refused"},
		{"a>b request, b>a request, a>b inform", "a>b requested, b>a done"},
		// An answer is to what it names.
		{"a>b request #1, a>b query #2, b>a inform @1", "a>b done, a>b asked"},
		{"a>b request #1, a>b query #2, b>a inform @2", "a>b requested, a>b done"},
		{"a>b request #1, a>b query #2, b>a inform @1, b>a inform @1", "a>b done, a>b asked"},
		{"a>b request #1, a>b query #2, b>a inform @1, b>a inform @2", "a>b done, a>b done"},
		{"a>b request #1, a>b query #2, b>a inform @3", "a>b requested, a>b asked"},
		{"a>b request #1, a>b query #2, a>b cancel @1", "a>b cancelled, a>b asked"},
		{"a>b request #1, b>a agree #x @1, a>b request #2, b>a inform @1", "a>b done, a>b requested"},
		{"a>b cfp #1, b>a propose #x @1, a>b cfp #2, a>b accept_proposal #y @x, b>a inform @y", "a>b done, a>b called"},
		{"a>b request #1, b>a request #1, b>a inform @1", "a>b done, b>a requested"},
		// One that names none is to the newest that is open.
		{"a>b request, a>b query, b>a inform", "a>b requested, a>b done"},
		{"a>b request, a>b query, b>a inform, b>a inform", "a>b done, a>b done"},
		{"a>b request #1, a>b query, b>a inform @1, a>b cfp, b>a propose", "a>b proposed, a>b asked"},
	} {
		var d dialogue
		for i, text := range strings.Split(c.said, ", ") {
			d.says(line(t, text), second(i))
		}
		var got []string
		open := 0
		for _, x := range d.order {
			got = append(got, fmt.Sprintf("%s>%s %s", x.From, x.To, x.State))
			if x.State.Open() {
				open++
			}
		}
		if strings.Join(got, ", ") != c.want || d.open != open {
			t.Errorf("%s: %s with %d open, want %s", c.said, got, d.open, c.want)
		}
	}
}

// TestAnAnswerNamesAnId where the question gave no other name.
func TestAnAnswerNamesAnId(t *testing.T) {
	var d dialogue
	one, two := line(t, "a>b request"), line(t, "a>b request")
	one.ID, two.ID = events.MessageID{1}, events.MessageID{2}
	d.says(one, second(0))
	d.says(two, second(1))
	d.says(line(t, "b>a inform @"+one.ID.String()), second(2))
	if d.order[0].State != StateDone || d.order[1].State != StateRequested {
		t.Errorf("%s and %s", d.order[0].State, d.order[1].State)
	}
}

// TestAskedAgainAndAgain: what one party has asked another without an answer is bounded,
// the newest stay, and an answer to one that is forgotten is none to them.
func TestAskedAgainAndAgain(t *testing.T) {
	var d dialogue
	for i := range 2 * maxAsked {
		d.says(line(t, fmt.Sprintf("a>b request #%d", i)), second(i))
	}
	d.says(line(t, "b>a inform @0"), second(50))
	if d.open != maxAsked || len(d.order) != maxAsked {
		t.Fatalf("%d open of %d, want %d", d.open, len(d.order), maxAsked)
	}
	for i := range maxAsked {
		d.says(line(t, fmt.Sprintf("b>a inform @%d", maxAsked+i)), second(60))
	}
	if d.open != 0 {
		t.Errorf("%d are open", d.open)
	}
	for i := range 50 {
		d.says(line(t, fmt.Sprintf("a>b request #%d", i)), second(i))
		d.says(line(t, "b>a inform"), second(i))
	}
	if len(d.order) != maxAsked {
		t.Errorf("%d exchanges are kept", len(d.order))
	}
}

func TestDialogueIsBounded(t *testing.T) {
	var d dialogue
	for i := range maxExchanges + 10 {
		d.says(line(t, fmt.Sprintf("a>b%d cfp", i)), second(0))
	}
	if len(d.order) != maxExchanges || len(d.threads) != maxExchanges || d.open != maxExchanges {
		t.Errorf("%d exchanges, %d open", len(d.order), d.open)
	}
}

// talkLog is a log of messages between agents for the folds of conversations.
type talkLog struct {
	*Conversations
	transcript *Transcript
	at         int
}

func newTalkLog(timeout time.Duration) *talkLog {
	return &talkLog{NewConversations(timeout), NewTranscript("talk"), 0}
}

func party(n byte) events.AgentID { return events.AgentID{0: n, 6: 0x40, 8: 0x80} }

func (l *talkLog) write(id events.AgentID, p events.Payload) {
	rec := events.Recorded{Stream: events.AgentStream(id), RecordedAt: second(l.at), Position: events.Position(l.at)}
	l.Conversations.Apply(rec, p)
	l.transcript.Apply(rec, p)
	l.at++
}

// says has an agent send a message out of a run that something else caused.
func (l *talkLog) says(from, to byte, p events.Performative, n byte) events.Message {
	m := events.Message{
		ID: events.MessageID{n}, Performative: p, Sender: party(from).String(), Receiver: party(to).String(),
		ConversationID: "talk", Sequence: uint64(n),
	}
	cause := events.Message{ID: events.MessageID{0xff, n}, Sender: "user:ada", Receiver: party(from).String(), ConversationID: "other"}
	l.write(party(from), events.MessageHandled{Message: cause, Outcome: events.OutcomeOK, Sends: []events.Message{m}})
	return m
}

func TestConversationsTimeOut(t *testing.T) {
	l := newTalkLog(time.Minute)
	l.says(1, 2, events.Request, 1)
	if at, ok := l.Next(); !ok || !at.Equal(second(60)) {
		t.Fatalf("next at %s, %v", at, ok)
	}
	l.says(2, 1, events.Agree, 2) // it goes on: at second 1
	if got := l.TakeExpired(second(60), 10); len(got) != 0 {
		t.Fatalf("expired though it went on: %+v", got)
	}
	got := l.TakeExpired(second(61), 10)
	if len(got) != 1 || got[0].Agent != party(1) {
		t.Fatalf("expired: %+v", got)
	}
	want := events.ConversationTimedOut{
		ConversationID: "talk", Protocol: "request", State: "agreed", Awaited: party(2), Open: 1, LastActivity: second(1),
	}
	if got[0].Event != want {
		t.Errorf("event %+v, want %+v", got[0].Event, want)
	}
	if again := l.TakeExpired(second(100), 10); len(again) != 0 {
		t.Errorf("given out twice")
	}
	l.Return(got[0], second(70))
	if again := l.TakeExpired(second(70), 10); len(again) != 1 {
		t.Errorf("not given out again after it was returned")
	}
	l.write(party(1), want)
	if _, ok := l.Next(); ok || l.Len() != 0 {
		t.Errorf("%d are watched after the timeout", l.Len())
	}
	if v := l.transcript.View(); v.State != "timed_out" || v.Exchanges[0].State != StateTimedOut {
		t.Errorf("it is %s, %+v", v.State, v.Exchanges)
	}
	l.says(1, 2, events.Request, 3)
	if l.Len() != 1 || l.transcript.View().State != "open" {
		t.Errorf("a new request opens it anew: %d watched, %s", l.Len(), l.transcript.View().State)
	}
}

// What was said while the timeout was on its way into the log keeps the
// conversation open.
func TestTimeoutLosesARace(t *testing.T) {
	l := newTalkLog(time.Minute)
	l.says(1, 2, events.Request, 1)
	got := l.TakeExpired(second(60), 10)
	if len(got) != 1 {
		t.Fatal("not expired")
	}
	l.says(2, 1, events.Agree, 2)
	l.write(party(1), got[0].Event)
	if at, ok := l.Next(); !ok || !at.Equal(second(61)) {
		t.Errorf("watched until %s, %v", at, ok)
	}
}

func TestConversationsEnd(t *testing.T) {
	for name, end := range map[string]func(l *talkLog, m events.Message){
		"an answer": func(l *talkLog, m events.Message) { l.says(2, 1, events.Inform, 2) },
		"a dead letter": func(l *talkLog, m events.Message) {
			l.write(party(1), events.MessageDeadLettered{Message: m, Reason: events.DeadAgentNotFound})
		},
		"a failure that is told": func(l *talkLog, m events.Message) {
			told := events.Message{ID: events.MessageID{9}, Performative: events.Failure, Sender: m.Receiver, Receiver: m.Sender, ConversationID: "talk"}
			l.write(party(2), events.MessageFailed{Message: m, Outcome: events.OutcomeTrap, Sends: []events.Message{told}})
		},
	} {
		l := newTalkLog(time.Minute)
		m := l.says(1, 2, events.Request, 1)
		if l.Len() != 1 {
			t.Fatalf("%d are watched", l.Len())
		}
		end(l, m)
		if _, ok := l.Next(); ok || l.Len() != 0 || l.age.Len() != 0 {
			t.Errorf("%s: %d are watched still", name, l.Len())
		}
		if v := l.transcript.View(); v.State != "completed" {
			t.Errorf("%s: it is %s", name, v.State)
		}
	}
}

// TestWhoAsksAgainWaits: one question that leads nowhere is not the end of the one after it.
func TestWhoAsksAgainWaits(t *testing.T) {
	l := newTalkLog(time.Minute)
	first := l.says(1, 2, events.QueryIf, 1)
	second := l.says(1, 2, events.QueryIf, 2)
	l.write(party(1), events.MessageDeadLettered{Message: first, Reason: events.DeadTimeout})
	if v := l.transcript.View(); l.Len() != 1 || v.Exchanges[0].State != StateUndelivered || v.Exchanges[1].State != StateAsked {
		t.Errorf("%d are watched, %+v", l.Len(), v.Exchanges)
	}
	l.write(party(1), events.MessageDeadLettered{Message: second, Reason: events.DeadTimeout})
	if v := l.transcript.View(); l.Len() != 0 || v.Exchanges[1].State != StateUndelivered {
		t.Errorf("%d are watched, %+v", l.Len(), v.Exchanges)
	}
}

func TestWatchedConversationsAreBounded(t *testing.T) {
	c := NewConversations(time.Minute)
	for i := range maxOpenConversations + 3 {
		m := events.Message{Performative: events.Request, Sender: party(1).String(), Receiver: party(2).String(), ConversationID: fmt.Sprint(i)}
		c.Apply(events.Recorded{Stream: events.AgentStream(party(1)), RecordedAt: second(i)}, events.MessageHandled{Sends: []events.Message{m}})
	}
	if c.Len() != maxOpenConversations || len(c.due) != maxOpenConversations || c.byID["2"] != nil || c.byID["3"] == nil {
		t.Errorf("%d are watched, want the newest %d", c.Len(), maxOpenConversations)
	}
}

// TestTranscript: each message once, as it stands last, with what outsiders said and
// were answered, and without what belongs elsewhere.
func TestTranscript(t *testing.T) {
	l := newTalkLog(time.Minute)
	asked := events.Message{ID: events.MessageID{1}, Performative: events.Query, Sender: "user:ada", Receiver: party(1).String(), ConversationID: "talk"}
	answer := events.Message{ID: events.MessageID{2}, Performative: events.Inform, Sender: party(1).String(), Receiver: "user:ada", ConversationID: "talk"}
	sent := events.Message{ID: events.MessageID{3}, Performative: events.Request, Sender: party(1).String(), Receiver: party(2).String(), ConversationID: "talk"}
	rev := events.Revision(0)
	l.write(party(1), events.MessageReceived{Message: asked})
	if v := l.transcript.View(); v.State != "open" || v.Messages[0].Status != MessageQueued || v.Protocol != QueryProtocol {
		t.Errorf("queued: %s, %+v", v.State, v.Messages)
	}
	l.write(party(1), events.MessageHandled{Message: asked, Outcome: events.OutcomeOK, Inbox: &rev, Reply: &answer, Sends: []events.Message{sent}})
	l.write(party(2), events.MessageFailed{Message: sent, Outcome: events.OutcomeTrap, Detail: "unreachable"})
	l.says(1, 2, events.Inform, 4)
	v := l.transcript.View()
	var got []string
	for _, m := range v.Messages {
		got = append(got, fmt.Sprint(m.ID[0], " ", m.Status))
	}
	if want := "1 handled, 3 failed, 2 answered, 4 in_flight"; strings.Join(got, ", ") != want {
		t.Errorf("%s, want %s", strings.Join(got, ", "), want)
	}
	if len(v.Parties) != 3 || len(v.Exchanges) != 2 || v.Exchanges[0].State != StateDone || !v.StartedAt.Equal(second(0)) || !v.UpdatedAt.Equal(second(3)) {
		t.Errorf("%+v", v)
	}
	if v := NewTranscript("x").View(); v.State != "informal" || v.Messages == nil || v.Exchanges == nil || v.Parties == nil {
		t.Errorf("of nothing: %+v", v)
	}
}

func TestMessagesAreFound(t *testing.T) {
	x := NewMessages()
	x.most = 3
	at := func(n byte) string {
		p, ok := x.Find(events.MessageID{n})
		return fmt.Sprint(p, " ", ok)
	}
	put := func(pos events.Position, p events.Payload) {
		x.Apply(events.Recorded{Stream: events.AgentStream(party(1)), Position: pos}, p)
	}
	m := func(n byte) events.Message { return events.Message{ID: events.MessageID{n}} }
	reply := m(3)
	put(10, events.MessageReceived{Message: m(1)})
	put(11, events.MessageHandled{Message: m(1), Sends: []events.Message{m(2)}, Reply: &reply})
	put(12, events.MessageReceived{Message: m(1)}) // the request came again; what was said before says more
	put(13, events.MessageFailed{Message: m(2)})
	for n, want := range map[byte]string{1: "11 true", 2: "13 true", 3: "11 true", 4: "0 false"} {
		if got := at(n); got != want {
			t.Errorf("message %d: %s, want %s", n, got, want)
		}
	}
	put(14, events.MessageDeadLettered{Message: m(4)})
	put(15, events.AgentQuarantined{Message: m(5)})
	for n, want := range map[byte]string{1: "0 false", 2: "0 false", 3: "11 true", 4: "14 true", 5: "15 true"} {
		if got := at(n); got != want {
			t.Errorf("then message %d: %s, want %s", n, got, want)
		}
	}
	if x.Len() != 3 {
		t.Errorf("%d are kept, want 3", x.Len())
	}
}
