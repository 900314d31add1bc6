package raftstore

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
)

// BenchmarkProcesses reports durable appends/s of three members, each a process of its
// own, over loopback with mutual TLS: by the leader and by a follower.
func BenchmarkProcesses(b *testing.B) {
	all := family(b, os.Args[0], 3, nil)
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			var done [2]int
			var elapsed [2]time.Duration
			for b.Loop() {
				for i := range done {
					r := all[i].must(wish{Do: "load", Writers: writers, For: slice})
					done[i], elapsed[i] = done[i]+r.Done, elapsed[i]+r.Elapsed
				}
			}
			b.ReportMetric(float64(done[0])/elapsed[0].Seconds(), "by-leader/s")
			b.ReportMetric(float64(done[1])/elapsed[1].Seconds(), "by-follower/s")
		})
	}
}

// BenchmarkElection kills the leader of three processes and reports the time until a
// survivor acknowledges an append; one election each iteration.
func BenchmarkElection(b *testing.B) {
	all := family(b, os.Args[0], 3, nil)
	var took []time.Duration
	for b.Loop() {
		lead := -1
		for deadline := time.Now().Add(patience); lead < 0; {
			for i, p := range all {
				if p.must(wish{Do: "status"}).Leads {
					lead = i
				}
			}
			if time.Now().After(deadline) {
				b.Fatal("nobody leads")
			}
		}
		for _, p := range all { // all are up to date
			p.must(wish{Do: "append", Name: "before"})
		}
		all[lead].kill()
		began := time.Now()
		all[(lead+1)%3].must(wish{Do: "append", Name: "after"})
		took = append(took, time.Since(began))
		p, err := all[lead].again(os.Args[0])
		if err != nil {
			b.Fatal(err)
		}
		all[lead] = p
		p.must(wish{Do: "append", Name: "back"})
	}
	slices.Sort(took)
	b.ReportMetric(float64(len(took)), "elections")
	b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Milliseconds()), "p99-ms")
}

// BenchmarkLag reports the time between the leader's acknowledgement of an append and
// the moment at which a subscriber of a follower has it, with 8 writers at work beside it.
func BenchmarkLag(b *testing.B) {
	leader, follower := group(b, 3)
	busy := appends("", leader, 8)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var wg sync.WaitGroup
	for w := range busy.writers {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if err := busy.write(w, i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	sub, err := follower.SubscribeAll(ctx, 0, events.Filter{})
	if err != nil {
		b.Fatal(err)
	}
	defer sub.Close()
	var lags []time.Duration
	for b.Loop() {
		r, err := leader.Append(ctx, "agent-1", events.Any(), event("lag"))
		if err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		for there := false; !there; {
			ev, err := sub.Next(ctx)
			if err != nil {
				b.Fatal(err)
			}
			there = ev.Position >= r.Position
		}
		lags = append(lags, time.Since(began))
	}
	stop()
	wg.Wait()
	slices.Sort(lags)
	b.ReportMetric(float64(lags[len(lags)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(lags[len(lags)*99/100].Microseconds()), "p99-us")
}

// BenchmarkStability burns all processors for as long as it runs, as guests would, and
// reports how often a leader of three members was lost meanwhile: it should be never.
func BenchmarkStability(b *testing.B) {
	leader, follower := group(b, 3)
	term := leader.raft.CurrentTerm()
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				for range 1 << 16 {
					n ^= n << 1
				}
			}
		})
	}
	began := time.Now()
	for b.Loop() {
		if _, err := follower.Append(ctx, "agent-1", events.Any(), event("burn")); err != nil {
			b.Fatal(err)
		}
	}
	stop()
	wg.Wait()
	b.ReportMetric(time.Since(began).Seconds(), "seconds")
	b.ReportMetric(float64(leader.raft.CurrentTerm()-term), "leaders-lost")
}
