package main

import (
	"context"
	"errors"
	"fmt"
)

// stage is one long-lived part of a node. run returns when its context ends and
// its last goroutine is gone, or when it cannot go on.
type stage struct {
	name string
	run  func(ctx context.Context) error
}

// running is a stage that was started.
type running struct {
	stage
	stop context.CancelFunc
	done chan struct{} // closed after err is set
	err  error
}

// runStages starts stages in order, each on those before it, and stops them in
// reverse when ctx ends or one of them does: what takes work in ends before what
// carries it out. It returns when all are gone, with their errors.
func runStages(ctx context.Context, stages []stage) error {
	ended := make(chan struct{}, len(stages))
	var live []*running
	for _, s := range stages {
		own, stop := context.WithCancel(context.WithoutCancel(ctx))
		r := &running{stage: s, stop: stop, done: make(chan struct{})}
		live = append(live, r)
		go func() {
			r.err = r.run(own)
			close(r.done)
			ended <- struct{}{}
		}()
	}
	select {
	case <-ctx.Done():
	case <-ended:
	}
	var errs []error
	for i := len(live) - 1; i >= 0; i-- {
		live[i].stop()
		<-live[i].done
		if live[i].err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", live[i].name, live[i].err))
		}
	}
	return errors.Join(errs...)
}
