package actors

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
)

// transcript folds a conversation as the REST API shows it.
func (r *rig) transcript(conversation string) projections.ConversationView {
	r.t.Helper()
	talk := projections.NewTranscript(conversation)
	for rec, err := range r.log.ReadCorrelation(r.t.Context(), conversation, 0) {
		if err != nil {
			r.t.Fatal(err)
		}
		p, err := events.Decode(rec.Event)
		if err != nil {
			r.t.Fatal(err)
		}
		talk.Apply(rec, p)
	}
	return talk.View()
}

// call has a manager call for proposals and returns the task's tag.
func (r *rig) call(manager events.AgentID, conversation, what string) string {
	r.t.Helper()
	req := request(manager, what)
	req.Message.ConversationID = conversation
	sent, err := r.Send(r.t.Context(), req)
	var out struct{ Task string }
	if err != nil || sent.Reply == nil || json.Unmarshal(sent.Reply.Content, &out) != nil || out.Task == "" {
		r.t.Fatalf("call: %v, %s", err, contentOf(sent.Reply))
	}
	return out.Task
}

// outcome is what a manager says of a task.
func (r *rig) outcome(manager events.AgentID, task string) (state, winner string) {
	r.t.Helper()
	var out struct{ State, Winner string }
	sent := r.ask(manager, fmt.Sprintf(`{"op":"result","task":%q}`, task))
	if err := json.Unmarshal(sent.Reply.Content, &out); err != nil {
		r.t.Fatal(err)
	}
	return out.State, out.Winner
}

// TestContractNet: one contractor works, the others are told no, and the
// conversation shows how it went, over restarts in the middle of it.
func TestContractNet(t *testing.T) {
	r := newRig(t, nil)
	manager := r.deploy("manager", "manager")
	workers := map[string]events.AgentID{}
	for _, name := range []string{"ann", "bob", "cyd"} {
		id := r.deploy(name, "contractor")
		workers[id.String()] = id
	}
	task := r.call(manager, "roof", `{"op":"call","contractors":["ann","bob","cyd"],"us":60000000}`)
	r.restart()
	r.eventually("it is done", func() bool { state, _ := r.outcome(manager, task); return state == "done" })
	r.eventually("nothing is in flight", func() bool { return r.flight.Len() == 0 })
	_, winner := r.outcome(manager, task)
	for id, agent := range workers {
		jobs := `{"jobs":0,"rejected":1}`
		if id == winner {
			jobs = `{"jobs":1,"rejected":0}`
		}
		r.wants(agent, `{"op":"jobs"}`, jobs)
	}
	v := r.transcript("roof")
	if v.State != "completed" || len(v.Exchanges) != 4 || len(v.Messages) != 12 {
		t.Fatalf("%s, %d exchanges, %d messages", v.State, len(v.Exchanges), len(v.Messages))
	}
	for _, x := range v.Exchanges[1:] {
		want := projections.StateRejected
		if x.To == winner {
			want = projections.StateDone
		}
		if x.Protocol != projections.ContractNetProtocol || x.State != want {
			t.Errorf("exchange %+v, want %s", x, want)
		}
	}
	r.eventually("no conversation is watched", func() bool { return r.talks.Len() == 0 })
}

// TestContractNetWithoutBids: who does not answer in time is not waited for, and what
// nobody wants to do is told.
func TestContractNetWithoutBids(t *testing.T) {
	r := newRig(t, nil)
	manager := r.deploy("manager", "manager")
	ann, bob := r.deploy("ann", "contractor"), r.deploy("bob", "contractor")
	task := r.call(manager, "", `{"op":"call","contractors":["ann","bob"],"limit":0,"us":60000000}`)
	r.eventually("all refuse", func() bool { state, _ := r.outcome(manager, task); return state == "nobody" })
	if err := r.command(r.Suspend, bob); err != nil {
		t.Fatal(err)
	}
	task = r.call(manager, "", `{"op":"call","contractors":["ann","bob"],"us":3600000000}`)
	r.eventually("ann has bid", func() bool {
		bids := only[events.MessageHandled](r, events.AgentStream(manager))
		return slices.ContainsFunc(bids, func(h events.MessageHandled) bool { return h.Message.Performative == events.Propose })
	})
	r.comeDue()
	r.eventually("it is done without bob", func() bool { state, _ := r.outcome(manager, task); return state == "done" })
	if _, winner := r.outcome(manager, task); winner != ann.String() {
		t.Errorf("%s won", winner)
	}
	if err := r.command(r.Resume, bob); err != nil {
		t.Fatal(err)
	}
	r.eventually("bob is told no", func() bool {
		n := 0
		for _, h := range only[events.MessageHandled](r, events.AgentStream(bob)) {
			if h.Message.Performative == events.RejectProposal {
				n++
			}
		}
		return n == 1
	})
}

// TestConversationTimesOut: a request that nobody answers is on record, once.
func TestConversationTimesOut(t *testing.T) {
	r := newRig(t, nil)
	r.end()
	r.quiet = 50 * time.Millisecond
	r.start()
	ping, pong := r.deploy("ping", "ping"), r.deploy("pong", "pong")
	if err := r.command(r.Suspend, pong); err != nil {
		t.Fatal(err)
	}
	req := request(ping, fmt.Sprintf(`{"op":"start","peer":%q,"rounds":1}`, pong.String()))
	req.Message.ConversationID = "game"
	if _, err := r.Send(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	timedOut := func() []events.ConversationTimedOut {
		return only[events.ConversationTimedOut](r, events.AgentStream(ping))
	}
	r.eventually("it times out", func() bool { return len(timedOut()) == 1 })
	got := timedOut()[0]
	if got.ConversationID != "game" || got.Awaited != pong || got.State != "requested" || got.Open != 1 {
		t.Errorf("%+v", got)
	}
	if v := r.transcript("game"); v.State != "timed_out" {
		t.Errorf("it is %s", v.State)
	}
	r.restart()
	if err := r.command(r.Resume, pong); err != nil { // what comes late is delivered
		t.Fatal(err)
	}
	r.eventually("pong answers", func() bool { return r.flight.Len() == 0 && r.over(ping) })
	if n := len(timedOut()); n != 1 {
		t.Errorf("%d timeouts", n)
	}
}

// wealth is what accounts hold: balances, and what is on its way.
func (r *rig) wealth(accounts []events.AgentID) (total int64) {
	r.t.Helper()
	for _, id := range accounts {
		st, err := r.sys.source.State(r.t.Context(), id)
		if err != nil {
			r.t.Fatal(err)
		}
		keys := []string{"balance"}
		for i := range 200 {
			keys = append(keys, fmt.Sprint("out:", i))
		}
		for _, key := range keys {
			if v, ok := st.Get(key); ok {
				var n int64
				if err := json.Unmarshal(v, &n); err != nil {
					r.t.Fatal(err)
				}
				total += n
			}
		}
	}
	return total
}

// TestMoneyIsNeitherMadeNorLost: transfers all over, with accounts that are
// suspended, restarted and gone, and a system that is restarted.
func TestMoneyIsNeitherMadeNorLost(t *testing.T) {
	r := newRig(t, nil)
	var accounts []events.AgentID
	for i := range 5 {
		id := r.deploy(fmt.Sprint("account-", i), "account")
		r.wants(id, `{"op":"open","n":1000}`, `{"balance":1000}`)
		accounts = append(accounts, id)
	}
	if sent := r.ask(accounts[0], `{"op":"credit","n":1}`); sent.Status != Failed {
		t.Errorf("an outsider made money: %s", sent.Status)
	}
	draw := rand.New(rand.NewPCG(1, 2))
	for round := range 60 {
		from, to := accounts[draw.IntN(5)], accounts[draw.IntN(5)]
		req := request(from, fmt.Sprintf(`{"op":"transfer","to":%q,"n":%d}`, to, 1+draw.IntN(300)))
		req.Wait = 0
		if _, err := r.Send(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		switch round {
		case 20:
			if err := r.command(r.Suspend, accounts[2]); err != nil {
				t.Fatal(err)
			}
		case 30:
			r.restart()
		case 40:
			if err := r.command(r.Resume, accounts[2]); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.eventually("nothing is on its way", func() bool { return r.flight.Len() == 0 && r.inboxes.Len() == 0 })
	for _, id := range accounts {
		r.ask(id, `{"op":"balance"}`) // its last event is in the log
	}
	r.eventually("nothing is on its way", func() bool { return r.flight.Len() == 0 })
	if got := r.wealth(accounts); got != 5000 {
		t.Errorf("5000 has become %d", got)
	}
}
