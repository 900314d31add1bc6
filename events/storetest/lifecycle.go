package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/caxton-run/caxton/events"
)

func lifecycleCases() []testCase {
	return []testCase{
		{"an empty log", emptyLog},
		{"a cancelled context", cancelled},
		{"Sync", func(s *suite) {
			s.must("a-1", events.Any(), event("x"))
			if err := s.Sync(s.ctx); err != nil {
				s.Error(err)
			}
			same(s, "after Sync", labels(s.all()), []string{"a-1@0"})
		}},
		{"after Sync all is there that was committed before it", syncUnderLoad},
		{"Close under load", closeUnderLoad},
		{"after Close", afterClose},
	}
}

// syncUnderLoad has writers that tell of each commit, and a reader that syncs and
// then wants to see at least as much.
func syncUnderLoad(s *suite) {
	const writers, each = 3, 20
	var committed atomic.Int64
	var wg sync.WaitGroup
	for w := range writers {
		stream := events.Stream(fmt.Sprintf("sync-%d", w))
		wg.Go(func() {
			for i := range each {
				if _, err := s.Append(s.ctx, stream, events.Any(), event(fmt.Sprint(stream, i))); err != nil {
					s.Error(err)
					return
				}
				committed.Add(1)
			}
		})
	}
	for told := int64(0); told < writers*each && !s.Failed(); {
		told = committed.Load()
		if err := s.Sync(s.ctx); err != nil {
			s.Error(err)
		}
		if n := int64(len(s.all())); n < told {
			s.Errorf("%d events are read after Sync, %d were committed before it", n, told)
		}
	}
	wg.Wait()
}

func emptyLog(s *suite) {
	if pos, ok, err := s.Head(s.ctx); ok || err != nil || pos != 0 {
		s.Errorf("Head of an empty log: %d, %v, %v", pos, ok, err)
	}
	if got := s.all(); len(got) != 0 {
		s.Errorf("an empty log has events: %v", labels(got))
	}
	if got := s.collect(s.ReadAll(s.ctx, events.ReadAllOptions{From: events.EndOfLog, Direction: events.Backwards})); len(got) != 0 {
		s.Errorf("an empty log has events: %v", labels(got))
	}
}

func cancelled(s *suite) {
	s.must("a-1", events.Any(), eventsNamed(3, "x")...)
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	if _, err := s.Append(ctx, "a-1", events.Any(), event("y")); !errors.Is(err, context.Canceled) {
		s.Errorf("Append: %v", err)
	}
	if err := s.readError(s.ReadStream(ctx, "a-1", events.ReadStreamOptions{})); !errors.Is(err, context.Canceled) {
		s.Errorf("ReadStream: %v", err)
	}
	if err := s.readError(s.ReadAll(ctx, events.ReadAllOptions{})); !errors.Is(err, context.Canceled) {
		s.Errorf("ReadAll: %v", err)
	}
	halfway, stop := context.WithCancel(s.ctx)
	defer stop()
	seen := 0
	var last error
	for _, err := range s.ReadAll(halfway, events.ReadAllOptions{}) {
		if last = err; err == nil {
			seen++
		}
		stop()
	}
	if seen != 1 || !errors.Is(last, context.Canceled) {
		s.Errorf("cancelled in the middle of a read: %d events, then %v", seen, last)
	}
	if got := len(s.stream("a-1")); got != 3 {
		s.Errorf("the cancelled append left %d events, want 3", got)
	}
}

// closeUnderLoad closes while writers append and readers follow: nothing hangs
// and every answer is one of the promised ones.
func closeUnderLoad(s *suite) {
	var wg sync.WaitGroup
	started := make(chan struct{}, 8)
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				_, err := s.Append(s.ctx, events.Stream(fmt.Sprintf("load-%d", w)), events.Any(), event("x"))
				if errors.Is(err, events.ErrClosed) || errors.Is(err, events.ErrUnknownOutcome) {
					return
				}
				if err != nil {
					s.Errorf("Append: %v", err)
					return
				}
				if i == 3 {
					started <- struct{}{}
				}
			}
		})
	}
	sub := s.subscribeAll(0, events.Filter{})
	wg.Go(func() {
		for {
			if _, err := sub.Next(s.ctx); err != nil {
				if !errors.Is(err, events.ErrClosed) {
					s.Errorf("Next: %v", err)
				}
				return
			}
		}
	})
	for range 8 {
		<-started
	}
	if err := s.Close(); err != nil {
		s.Errorf("Close: %v", err)
	}
	wg.Wait()
}

func afterClose(s *suite) {
	s.must("a-1", events.Any(), event("x"))
	sub := s.subscribeAll(0, events.Filter{})
	for range 2 {
		if err := s.Close(); err != nil {
			s.Fatalf("Close: %v", err)
		}
	}
	closed := func(what string, err error) {
		s.Helper()
		if !errors.Is(err, events.ErrClosed) {
			s.Errorf("%s: %v, want ErrClosed", what, err)
		}
	}
	_, err := s.Append(s.ctx, "a-1", events.Any(), event("y"))
	closed("Append", err)
	closed("ReadStream", s.readError(s.ReadStream(s.ctx, "a-1", events.ReadStreamOptions{})))
	closed("ReadAll", s.readError(s.ReadAll(s.ctx, events.ReadAllOptions{})))
	_, err = sub.Next(s.ctx)
	closed("Next", err)
	_, err = s.SubscribeAll(s.ctx, 0, events.Filter{})
	closed("SubscribeAll", err)
	_, err = s.SubscribeStream(s.ctx, "a-1", 0)
	closed("SubscribeStream", err)
	closed("Sync", s.Sync(s.ctx))
	_, _, err = s.Head(s.ctx)
	closed("Head", err)
}
