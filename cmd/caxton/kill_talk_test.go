package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caxton-run/caxton/fixtures"
	caxtonhttp "github.com/caxton-run/caxton/http"
)

// Of TestKillTalk.
const (
	talkMoney = 1000 // in each account at first
	talkTimes = 40   // that the timer fires, spread over the kills
)

// talkSize is how much of it there is.
type talkSize struct {
	kills    int
	accounts int
	tellers  int
	between  int64 // transfers acknowledged between two kills, at most
	atLeast  int64 // transfers acknowledged before the last kill
}

// sizeOfTalk follows CAXTON_LONG: "all" is 200,000 transfers, and takes the better part of
// an hour.
func sizeOfTalk() talkSize {
	switch os.Getenv("CAXTON_LONG") {
	case "":
		return talkSize{kills: killsShort, accounts: 5, tellers: 4, between: 30}
	case "all":
		return talkSize{kills: 200, accounts: 40, tellers: 32, between: 2000, atLeast: 200_000}
	}
	return talkSize{kills: killsLong, accounts: 5, tellers: 4, between: 30}
}

// TestKillTalk kills a server again and again while accounts transfer money to one
// another, a manager has contractors work by the contract-net protocol, and a timer
// sets itself again. Money is neither made nor lost, each call ends with one
// contractor at work, and each timer fires once.
func TestKillTalk(t *testing.T) {
	size := sizeOfTalk()
	p := newProcess(t)
	p.start()
	client := p.client()
	p.ready(client)
	b := openBank(t, client, size)
	for _, name := range []string{"manager", "ann", "bob", "cyd", "alarm", "rings"} {
		guest := map[string]string{"manager": "manager", "alarm": "timer", "rings": "counter-c"}[name]
		if guest == "" {
			guest = "contractor"
		}
		deployGuest(t, client, name, guest)
	}
	askJSON(t, client, "alarm", fmt.Sprintf(`{"op":"after","us":20000,"times":%d,"tell":"rings"}`, talkTimes))
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	b.begin(ctx, client)
	var tasks []string
	for i := range size.kills {
		p.ready(client)
		tasks = append(tasks, callOnce(t, client, fmt.Sprintf("call-%d", i)))
		behind := size.atLeast*int64(i+1)/int64(size.kills) - b.acked.Load()
		b.progress(t, max(1+b.chance.Int64N(size.between), behind))
		p.killUnsuspected()
		p.start()
	}
	p.ready(client)
	stop()
	b.group.Wait()
	for _, task := range tasks {
		until(t, "task "+task+" is done", func() bool {
			return askJSON(t, client, "manager", fmt.Sprintf(`{"op":"result","task":%q}`, task))["state"] == "done"
		})
	}
	checkJobs(t, client, len(tasks))
	checkTimers(t, client)
	b.check(t, client)
	t.Logf("%d kills, %d transfers acknowledged, %d contract-nets, %d timers", size.kills, b.acked.Load(), len(tasks), talkTimes)
}

func deployGuest(t *testing.T, c *caxtonhttp.Client, name, guest string) {
	t.Helper()
	if _, err := c.Deploy(context.Background(), caxtonhttp.Deployment{Name: name, Wasm: fixtures.Agent(guest)}); err != nil {
		t.Fatal(err)
	}
}

// until waits for a condition, which it asks for again and again.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for !is() {
		select {
		case <-poll.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within two minutes", what)
		}
	}
}

// callOnce has the manager call for proposals, whatever the server does meanwhile.
func callOnce(t *testing.T, c *caxtonhttp.Client, key string) string {
	t.Helper()
	body := `{"op":"call","contractors":["ann","bob","cyd"],"us":600000000}`
	for {
		r, err := c.Send(context.Background(), "manager", caxtonhttp.Outgoing{
			Content: json.RawMessage(body), Wait: 20 * time.Second, IdempotencyKey: key, ConversationID: key,
		})
		var out struct{ Task string }
		if err == nil && r.Reply != nil && json.Unmarshal(r.Reply.Content, &out) == nil && out.Task != "" {
			return out.Task
		}
		if err == nil && r.Reply != nil {
			t.Fatalf("call %s: %s", key, r.Reply.Content)
		}
	}
}

// checkJobs: each call was worked on once, and each contractor heard of each.
func checkJobs(t *testing.T, c *caxtonhttp.Client, calls int) {
	t.Helper()
	until(t, "every contractor is told", func() bool {
		jobs, told := 0.0, 0.0
		for _, name := range []string{"ann", "bob", "cyd"} {
			got := askJSON(t, c, name, `{"op":"jobs"}`)
			jobs += got["jobs"].(float64)
			told += got["jobs"].(float64) + got["rejected"].(float64)
		}
		if jobs > float64(calls) || told > float64(3*calls) {
			t.Fatalf("%v jobs and %v answers of %d calls", jobs, told, calls)
		}
		return jobs == float64(calls) && told == float64(3*calls)
	})
	talk, err := c.Conversation(context.Background(), "call-0")
	if err != nil || talk.State != "completed" || len(talk.Exchanges) != 4 {
		t.Errorf("the first call is %s with %d exchanges, %v", talk.State, len(talk.Exchanges), err)
	}
}

// checkTimers: the chain has come to its end, each timer fired once, and whoever was
// to hear of it did.
func checkTimers(t *testing.T, c *caxtonhttp.Client) {
	t.Helper()
	until(t, "the timer has fired so often", func() bool {
		return askJSON(t, c, "alarm", `{"op":"fired"}`)["fired"] == float64(talkTimes)
	})
	until(t, "the bell has rung so often", func() bool {
		return askJSON(t, c, "rings", `{"op":"get"}`)["count"] == float64(talkTimes)
	})
	fired := map[int]int{}
	for e := range history(t, c, "alarm") {
		var f struct {
			Timer int `json:"timer_id"`
		}
		if e.Type == "TimerFired" && json.Unmarshal(e.Data, &f) == nil {
			fired[f.Timer]++
		}
	}
	for id := 1; id <= talkTimes; id++ {
		if fired[id] != 1 {
			t.Errorf("timer %d fired %d times", id, fired[id])
		}
	}
	if len(fired) != talkTimes {
		t.Errorf("%d timers fired, want %d", len(fired), talkTimes)
	}
}

// bank moves money between accounts at random.
type bank struct {
	talkSize
	group  sync.WaitGroup
	acked  atomic.Int64
	moved  chan struct{} // has room for one: something was acknowledged
	chance *rand.Rand    // of the test's goroutine
	seed   uint64
}

func openBank(t *testing.T, c *caxtonhttp.Client, size talkSize) *bank {
	t.Helper()
	b := &bank{talkSize: size, moved: make(chan struct{}, 1), seed: rand.Uint64()}
	t.Logf("seed %d", b.seed)
	b.chance = rand.New(rand.NewPCG(b.seed, 0))
	for i := range b.accounts {
		deployGuest(t, c, account(i), "account")
		askJSON(t, c, account(i), fmt.Sprintf(`{"op":"open","n":%d}`, talkMoney))
	}
	return b
}

func account(i int) string { return fmt.Sprintf("account-%d", i) }

func (b *bank) begin(ctx context.Context, c *caxtonhttp.Client) {
	for id := range b.tellers {
		draw := rand.New(rand.NewPCG(b.seed, uint64(id)+1))
		b.group.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				from, to := account(draw.IntN(b.accounts)), account(draw.IntN(b.accounts))
				b.transfer(ctx, c, from, caxtonhttp.Outgoing{
					Content: fmt.Appendf(nil, `{"op":"transfer","to":%q,"n":%d}`, to, 1+draw.IntN(talkMoney/2)),
					Wait:    10 * time.Second, IdempotencyKey: fmt.Sprintf("teller-%d-%d", id, n),
				})
			}
		})
	}
}

// transfer orders one until it is acknowledged; one that is refused for want of
// money is too.
func (b *bank) transfer(ctx context.Context, c *caxtonhttp.Client, from string, order caxtonhttp.Outgoing) {
	for {
		if _, err := c.Send(context.Background(), from, order); err == nil {
			b.acked.Add(1)
			select {
			case b.moved <- struct{}{}:
			default:
			}
			return
		}
		pause := time.NewTimer(time.Millisecond) // the server is away
		<-pause.C
		if ctx.Err() != nil {
			return // ordered or not, no money depends on it
		}
	}
}

func (b *bank) progress(t *testing.T, n int64) {
	t.Helper()
	goal := b.acked.Load() + n
	late := time.NewTimer(patience)
	defer late.Stop()
	for b.acked.Load() < goal {
		select {
		case <-b.moved:
		case <-late.C:
			t.Fatal("no transfer is acknowledged any more")
		}
	}
}

// check waits until no money is on its way and all of it is there. What is on its way
// may be counted twice or not at all, as accounts are asked one after the other.
func (b *bank) check(t *testing.T, c *caxtonhttp.Client) {
	t.Helper()
	until(t, "all money is back in accounts", func() bool {
		total := 0.0
		for i := range b.accounts {
			total += askJSON(t, c, account(i), `{"op":"balance"}`)["balance"].(float64)
		}
		return total == float64(b.accounts*talkMoney)
	})
	credits := map[string]int{}
	for i := range b.accounts {
		for e := range history(t, c, account(i)) {
			var h struct {
				Message struct {
					ID      string
					Content struct{ Op string }
				}
			}
			if e.Type == "MessageHandled" && json.Unmarshal(e.Data, &h) == nil && h.Message.Content.Op == "credit" {
				credits[h.Message.ID]++
			}
		}
	}
	for id, n := range credits {
		if n != 1 {
			t.Errorf("credit %s was given %d times", id, n)
		}
	}
	if len(credits) == 0 {
		t.Error("no money has moved")
	}
}
