package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// load is what one measurement of messages came to.
type load struct {
	Messages  int64         `json:"messages"`
	PerSecond float64       `json:"per_second"`
	P50       time.Duration `json:"p50_ns"`
	P99       time.Duration `json:"p99_ns"`
	Max       time.Duration `json:"max_ns"`
}

// sendFunc sends message i of a worker and returns when it is durable and
// answered.
type sendFunc func(ctx context.Context, worker int, i int64) error

// maxBenchLatency is the largest latency told apart.
const maxBenchLatency = time.Minute

// worker is one sender's measurements.
type worker struct {
	hist *hdrhistogram.Histogram // of µs
	n    int64
	err  error
}

func (w *worker) record(d time.Duration) {
	w.n++
	_ = w.hist.RecordValue(min(max(d, time.Microsecond), maxBenchLatency).Microseconds()) // within its bounds
}

// oneByOne sends messages, each when the one before it was answered, as long as more
// says so of their number.
func (w *worker) oneByOne(ctx context.Context, id int, send sendFunc, more func(i int64) bool) {
	for i := int64(0); more(i); i++ {
		start := time.Now()
		if w.err = send(ctx, id, i); w.err != nil {
			return
		}
		w.record(time.Since(start))
	}
}

// closedLoop lets each worker send its next message when the last one was
// answered, for d.
func closedLoop(ctx context.Context, workers int, d time.Duration, send sendFunc) (load, error) {
	end := time.Now().Add(d)
	return drive(ctx, workers, func(id int, w *worker) {
		w.oneByOne(ctx, id, send, func(int64) bool { return time.Now().Before(end) })
	})
}

// each sends n messages, each when the one before it was answered.
func each(ctx context.Context, n int, send sendFunc) (load, error) {
	return drive(ctx, 1, func(id int, w *worker) {
		w.oneByOne(ctx, id, send, func(i int64) bool { return i < int64(n) })
	})
}

// openLoop sends at a fixed rate, whether or not earlier messages were answered
// in time: a latency is counted from when its message was due, so a stall shows
// in all the messages that it delayed.
func openLoop(ctx context.Context, workers int, rate float64, d time.Duration, send sendFunc) (load, error) {
	return drive(ctx, workers, atRate(ctx, workers, rate, d, send))
}

// atRate is what each worker of an open loop does, which begins now.
func atRate(ctx context.Context, workers int, rate float64, d time.Duration, send sendFunc) func(id int, w *worker) {
	interval := time.Duration(float64(time.Second) * float64(workers) / rate)
	start := time.Now()
	return func(id int, w *worker) {
		due := start.Add(interval * time.Duration(id) / time.Duration(workers))
		for i := int64(0); due.Sub(start) < d; i++ {
			if wait := time.Until(due); wait > 0 {
				select {
				case <-time.After(wait):
				case <-ctx.Done():
					w.err = ctx.Err()
					return
				}
			}
			if w.err = send(ctx, id, i); w.err != nil {
				return
			}
			w.record(time.Since(due))
			due = due.Add(interval)
		}
	}
}

// drive runs workers to their end and puts their measurements together.
func drive(ctx context.Context, workers int, run func(id int, w *worker)) (load, error) {
	t := newTally()
	if err := t.drive(ctx, workers, run); err != nil {
		return load{}, err
	}
	return t.load(), nil
}

// tally puts measurements together, of one or of several times that workers ran.
type tally struct {
	hist    *hdrhistogram.Histogram // of µs
	n       int64
	elapsed time.Duration
}

func newTally() *tally { return &tally{hist: newLatencies()} }

func newLatencies() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, maxBenchLatency.Microseconds(), 3)
}

// drive runs workers to their end and adds what they measured.
func (t *tally) drive(ctx context.Context, workers int, run func(id int, w *worker)) error {
	all := make([]*worker, workers)
	var group sync.WaitGroup
	start := time.Now()
	for id := range all {
		w := &worker{hist: newLatencies()}
		all[id] = w
		group.Go(func() { run(id, w) })
	}
	group.Wait()
	t.elapsed += time.Since(start)
	for _, w := range all {
		if w.err != nil {
			return fmt.Errorf("message: %w", w.err)
		}
		t.hist.Merge(w.hist)
		t.n += w.n
	}
	return ctx.Err()
}

// load is what it came to.
func (t *tally) load() load {
	micros := func(q float64) time.Duration { return time.Duration(t.hist.ValueAtQuantile(q)) * time.Microsecond }
	return load{
		Messages: t.n, PerSecond: float64(t.n) / t.elapsed.Seconds(),
		P50: micros(50), P99: micros(99), Max: micros(100),
	}
}
