package main

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events/pebblestore"
	"github.com/caxton-run/caxton/fixtures"
	caxtonhttp "github.com/caxton-run/caxton/http"
)

// Of TestKillWhileTrimming.
const (
	trimKills    = 6
	trimMessages = 300 // acknowledged between two kills, at least
)

// TestKillWhileTrimming kills a server that trims histories and scavenges all the time,
// while a counter counts. What was acknowledged counts once; what was not, once at
// most. The counter shows the same counts whether its events are there or not.
func TestKillWhileTrimming(t *testing.T) {
	t.Setenv("CAXTON__EVENTS__RETENTION", "1s")
	t.Setenv("CAXTON__EVENTS__SCAVENGE_EVERY", "1s")
	t.Setenv("CAXTON__RUNTIME__SNAPSHOT_EVERY", "50")
	p := newProcess(t)
	p.start()
	c := p.client()
	p.ready(c)
	ctx := context.Background()
	if _, err := c.Deploy(ctx, caxtonhttp.Deployment{Name: "counter", Wasm: fixtures.Agent("counter-c")}); err != nil {
		t.Fatal(err)
	}
	var acked, maybe atomic.Int64
	moved := make(chan struct{}, 1)
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				r, err := c.Send(ctx, "counter", caxtonhttp.Outgoing{Content: json.RawMessage(`{"op":"add","n":1}`), Wait: 25 * time.Second})
				switch {
				case neverArrived(err):
					pause := time.NewTimer(time.Millisecond)
					<-pause.C
				case err != nil || r.Status != actors.Handled:
					maybe.Add(1)
				default:
					acked.Add(1)
					select {
					case moved <- struct{}{}:
					default:
					}
				}
			}
		})
	}
	progress := func(n int64) { // the moment is one of progress, not of time
		for until := acked.Load() + n; acked.Load() < until; {
			<-moved
		}
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 0))
	for i := range trimKills {
		progress(trimMessages)
		p.expect([]string{"histories trimmed", "log scavenged"}[i%2])
		progress(chance.Int64N(20))
		p.killUnsuspected()
		p.start()
		p.ready(c)
	}
	v, err := c.Agent(ctx, "counter")
	for ; v.HistoryFrom == 0 && err == nil; v, err = c.Agent(ctx, "counter") {
		progress(trimMessages)
		p.expect("histories trimmed")
	}
	close(stop)
	writers.Wait()
	if err != nil {
		t.Fatal(err)
	}
	p.kill()
	p.start()
	p.ready(c)
	count := int64(askJSON(t, c, "counter", `{"op":"get"}`)["count"].(float64))
	if count < acked.Load() || count > acked.Load()+maybe.Load() {
		t.Errorf("the counter stands at %d; %d messages were acknowledged, and of %d it is not known", count, acked.Load(), maybe.Load())
	}
	p.kill()
	p.start() // so that the view is of all there is
	p.ready(c)
	if v, err = c.Agent(ctx, "counter"); err != nil || int64(v.MessagesHandled) != count+1 || v.MessagesFailed != 0 {
		t.Errorf("it shows %d messages handled, %d failed, and counted %d: %v", v.MessagesHandled, v.MessagesFailed, count, err)
	}
	p.kill()
	log, err := pebblestore.Open(p.dir, pebblestore.DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	done, err := log.Verify(ctx, func(fault error) { t.Error(fault) }, nil)
	if err != nil {
		t.Error(err)
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
	t.Logf("history from %d of %d, %d of %d events scavenged, %d messages acknowledged, %d unknown",
		v.HistoryFrom, v.Revision, done.Scavenged, done.Events, acked.Load(), maybe.Load())
}

// neverArrived reports whether a request met nobody, or a server that did not serve yet.
func neverArrived(err error) bool {
	var dial *net.OpError
	var problem *caxtonhttp.ProblemError
	return errors.As(err, &dial) && dial.Op == "dial" || errors.As(err, &problem) && problem.Code == caxtonhttp.CodeNotReady
}
