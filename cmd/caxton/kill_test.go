package main

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/fixtures"
	caxtonhttp "github.com/caxton-run/caxton/http"
)

// Of TestKill. The short form takes seconds.
const (
	killsShort   = 6
	killsLong    = 60
	killWriters  = 8
	killCounters = 4
	killGames    = 3   // of ping-pong, spread over the kills
	killRounds   = 400 // of one game; events.MaxHops ends one of 500
	holdEvery    = 2   // kills, of another counter
)

// TestKill kills a server again and again while writers send to counters, which
// are suspended and resumed meanwhile, and two agents talk. Every message has an
// idempotency key and is sent until it is acknowledged, and again if all that is
// known is that it waits; so at the end each has counted once: fewer would be a
// loss, more a repetition.
func TestKill(t *testing.T) {
	kills := killsOf(killsLong)
	k := startKilling(t)
	p, client, counters, writers := k.p, k.client, k.counters, k.writers
	var games []game
	for i := range kills {
		if i%holdEvery == 0 {
			p.ready(client)
			holdOne(t, client, counters, i/holdEvery)
			writers.holds(t)
		}
		writers.progress(t, k.chance.Int64N(40)) // the moment is one of progress, not of time
		p.killUnsuspected()
		p.start()
		if i%(kills/killGames) == 0 {
			p.ready(client)
			games = append(games, startGame(t, client, len(games)))
		}
	}
	p.ready(client)
	k.stop()
	resumeAll(t, client, counters)

	for i, name := range counters {
		writers.check(t, client, i, name)
	}
	for _, g := range games {
		g.check(t, client)
	}
	t.Logf("%d kills, %d messages acknowledged, %d of them held at first, %d attempts failed",
		kills, writers.acked.Load(), writers.held.Load(), writers.failed.Load())
}

// killsOf is how often a test kills, by CAXTON_LONG.
func killsOf(long int) int {
	if os.Getenv("CAXTON_LONG") != "" {
		return long
	}
	return killsShort
}

// killing is a server to be killed, with writers that send to its counters.
type killing struct {
	p        *process
	client   *caxtonhttp.Client
	counters []string
	writers  *writers
	seed     uint64
	chance   *rand.Rand // of the moments
	end      context.CancelFunc
}

func startKilling(t *testing.T) *killing {
	t.Helper()
	k := &killing{p: newProcess(t), seed: rand.Uint64()}
	t.Logf("seed %d", k.seed)
	k.chance = rand.New(rand.NewPCG(k.seed, 0))
	k.p.start()
	k.client = k.p.client()
	k.p.ready(k.client)
	k.counters = deployCounters(t, k.client)
	var ctx context.Context
	ctx, k.end = context.WithCancel(context.Background())
	t.Cleanup(k.end)
	k.writers = startWriters(ctx, k.client, k.counters)
	return k
}

// stop waits until the writers have ended: what they sent is acknowledged.
func (k *killing) stop() {
	k.end()
	k.writers.wait()
}

// holdOne suspends one counter and lets the one before it run again.
func holdOne(t *testing.T, c *caxtonhttp.Client, counters []string, n int) {
	t.Helper()
	if _, err := c.Suspend(context.Background(), counters[n%len(counters)], "held by the test"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Resume(context.Background(), counters[(n+1)%len(counters)], ""); err != nil {
		t.Fatal(err)
	}
}

func resumeAll(t *testing.T, c *caxtonhttp.Client, counters []string) {
	t.Helper()
	for _, name := range counters {
		if _, err := c.Resume(context.Background(), name, ""); err != nil {
			t.Fatal(err)
		}
	}
}

func deployCounters(t *testing.T, c *caxtonhttp.Client) []string {
	t.Helper()
	names := make([]string, killCounters)
	for i := range names {
		names[i] = fmt.Sprintf("counter-%d", i)
		if _, err := c.Deploy(context.Background(), caxtonhttp.Deployment{Name: names[i], Wasm: fixtures.Agent("counter-c")}); err != nil {
			t.Fatal(err)
		}
	}
	return names
}

// writers send until they are stopped, each message until it is acknowledged.
type writers struct {
	group  sync.WaitGroup
	acked  atomic.Int64
	held   atomic.Int64
	failed atomic.Int64
	moved  chan struct{} // has room for one: something was acknowledged

	mu      sync.Mutex
	replies [][]int64 // guarded by mu; by counter, what it answered
	sent    []int64   // guarded by mu; by counter, messages acknowledged
	faults  []string  // guarded by mu; answers that should never come
}

func startWriters(ctx context.Context, c *caxtonhttp.Client, counters []string) *writers {
	w := &writers{moved: make(chan struct{}, 1), replies: make([][]int64, len(counters)), sent: make([]int64, len(counters))}
	for id := range killWriters {
		w.group.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				to := (id + n) % len(counters)
				w.deliver(c, to, counters[to], fmt.Sprintf("writer-%d-%d", id, n))
			}
		})
	}
	return w
}

// deliver sends one message until it is acknowledged. It does not end before,
// because then nobody would know whether it counts.
func (w *writers) deliver(c *caxtonhttp.Client, to int, name, key string) {
	for again := false; ; {
		r, err := c.Send(context.Background(), name, caxtonhttp.Outgoing{
			Content: json.RawMessage(`{"op":"add","n":1}`), Wait: 10 * time.Second, IdempotencyKey: key,
		})
		if err == nil && !again && (r.Status == actors.Held || r.Status == actors.Queued) {
			again = true // as a client does that is not sure
			w.held.Add(1)
			continue
		}
		if err == nil {
			w.ack(to, r)
			return
		}
		w.failed.Add(1)
		pause := time.NewTimer(time.Millisecond) // the server is away
		<-pause.C
	}
}

func (w *writers) ack(to int, r caxtonhttp.MessageReceipt) {
	w.mu.Lock()
	w.sent[to]++
	var body struct{ Count int64 }
	switch {
	case r.Status == actors.Handled && r.Reply != nil && json.Unmarshal(r.Reply.Content, &body) == nil:
		w.replies[to] = append(w.replies[to], body.Count)
	case r.Status != actors.Queued && r.Status != actors.Held && r.Status != actors.Handled:
		w.faults = append(w.faults, fmt.Sprintf("message %s: %s %v", r.MessageID, r.Status, r.Reply))
	}
	w.mu.Unlock()
	w.acked.Add(1)
	select {
	case w.moved <- struct{}{}:
	default:
	}
}

// progress waits until n more messages are acknowledged.
func (w *writers) progress(t *testing.T, n int64) {
	t.Helper()
	until := w.acked.Load() + n
	late := time.NewTimer(patience)
	defer late.Stop()
	for w.acked.Load() < until {
		select {
		case <-w.moved:
		case <-late.C:
			t.Fatal("nothing is acknowledged any more")
		}
	}
}

// holds waits until one more message is held.
func (w *writers) holds(t *testing.T) {
	t.Helper()
	for until := w.held.Load() + 1; w.held.Load() < until; {
		w.progress(t, 1)
	}
}

func (w *writers) wait() { w.group.Wait() }

// check compares a counter with what its writers know.
func (w *writers) check(t *testing.T, c *caxtonhttp.Client, i int, name string) {
	t.Helper()
	for _, f := range w.faults {
		t.Error(f)
	}
	got := askJSON(t, c, name, `{"op":"get"}`)
	if got["count"] != float64(w.sent[i]) {
		t.Errorf("%s stands at %v, its writers had %d messages acknowledged", name, got["count"], w.sent[i])
	}
	seen := make(map[int64]bool)
	for _, n := range w.replies[i] {
		if seen[n] || n < 1 || n > w.sent[i] {
			t.Errorf("%s answered %d to two messages, or out of 1 to %d", name, n, w.sent[i])
		}
		seen[n] = true
	}
	handled := make(map[string]int)
	for e := range history(t, c, name) {
		var h struct {
			Key string `json:"idempotency_key"`
		}
		if err := json.Unmarshal(e.Data, &h); err != nil {
			t.Fatal(err)
		}
		if e.Type == "MessageHandled" && h.Key != "" {
			handled[h.Key]++
		}
	}
	for key, n := range handled {
		if n != 1 {
			t.Errorf("%s: the message with key %s was handled %d times", name, key, n)
		}
	}
	if int64(len(handled)) != w.sent[i] {
		t.Errorf("%s: the log has %d messages, its writers know %d", name, len(handled), w.sent[i])
	}
}

// askJSON sends a request to an agent and returns its reply's content.
func askJSON(t *testing.T, c *caxtonhttp.Client, name, content string) map[string]any {
	t.Helper()
	r, err := c.Send(context.Background(), name, caxtonhttp.Outgoing{Content: json.RawMessage(content), Wait: 25 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if r.Reply == nil {
		t.Fatalf("%s: %s without a reply", name, r.Status)
	}
	var body map[string]any
	if err := json.Unmarshal(r.Reply.Content, &body); err != nil {
		t.Fatalf("%s answered %s: %v", name, r.Reply.Content, err)
	}
	return body
}

// game is a ping-pong between two agents, which has these names.
type game struct{ ping, pong string }

func startGame(t *testing.T, c *caxtonhttp.Client, n int) game {
	t.Helper()
	g := game{fmt.Sprintf("ping-%d", n), fmt.Sprintf("pong-%d", n)}
	for name, guest := range map[string]string{g.ping: "ping", g.pong: "pong"} {
		if _, err := c.Deploy(context.Background(), caxtonhttp.Deployment{Name: name, Wasm: fixtures.Agent(guest)}); err != nil {
			t.Fatal(err)
		}
	}
	askJSON(t, c, g.ping, fmt.Sprintf(`{"op":"start","peer":%q,"rounds":%d}`, g.pong, killRounds))
	return g
}

// check waits for the end of the game and wants every ball to have been played
// once: ping ignores a ball that comes twice, but the log would show it.
func (g game) check(t *testing.T, c *caxtonhttp.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for askJSON(t, c, g.ping, `{"op":"score"}`)["done"] != true {
		select {
		case <-poll.C:
		case <-ctx.Done():
			t.Fatalf("%s does not end its game: %v", g.ping, askJSON(t, c, g.ping, `{"op":"score"}`))
		}
	}
	balls := make(map[int]int)
	for e := range history(t, c, g.pong) {
		var h struct {
			Message struct{ Content struct{ Ball int } }
		}
		if e.Type == "MessageHandled" && json.Unmarshal(e.Data, &h) == nil {
			balls[h.Message.Content.Ball]++
		}
	}
	if len(balls) != killRounds {
		t.Errorf("%s was sent %d balls, want %d", g.pong, len(balls), killRounds)
	}
	for ball, n := range balls {
		if n != 1 {
			t.Errorf("%s: ball %d was played %d times", g.pong, ball, n)
		}
	}
}

// history reads all of an agent's events.
func history(t *testing.T, c *caxtonhttp.Client, name string) iter.Seq[caxtonhttp.StoredEvent] {
	return func(yield func(caxtonhttp.StoredEvent) bool) {
		for query := (&caxtonhttp.EventQuery{}); query != nil; {
			page, next, err := c.Events(context.Background(), name, *query)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range page {
				if !yield(e) {
					return
				}
			}
			query = next
		}
	}
}
