package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/caxton-run/caxton/events"
)

func subscribeCases() []testCase {
	return []testCase{
		{"what was, then what comes", pastAndFuture},
		{"a stream that does not exist yet", futureStream},
		{"from the middle and from beyond the end", subscribeFrom},
		{"filtered", filteredSubscription},
		{"no gap and no repetition across the seam", seam},
		{"a slow reader loses nothing and holds nobody", slowReader},
		{"nothing is seen before the log's head says so", seenIsDurable},
		{"a waiting Next ends with its context, Close and the store", endings},
		{"subscribers come and go", comeAndGo},
		{"bad names", func(s *suite) {
			var inv *events.InvalidError
			if _, err := s.SubscribeStream(s.ctx, "bad\x00", 0); !errors.As(err, &inv) {
				s.Errorf("got %v, want an InvalidError", err)
			}
		}},
	}
}

func pastAndFuture(s *suite) {
	s.must("sub-1", events.NoStream(), eventsNamed(3, "old")...)
	log, stream := s.subscribeAll(0, events.Filter{}), s.subscribeStream("sub-1", 0)
	s.must("other-1", events.NoStream(), event("x"))
	s.must("sub-1", events.Exact(2), eventsNamed(2, "new")...)
	same(s, "log", labels(s.take(log, 6)), []string{"sub-1@0", "sub-1@1", "sub-1@2", "other-1@0", "sub-1@3", "sub-1@4"})
	same(s, "stream", labels(s.take(stream, 5)), []string{"sub-1@0", "sub-1@1", "sub-1@2", "sub-1@3", "sub-1@4"})
}

func futureStream(s *suite) {
	sub := s.subscribeStream("later-1", 0)
	got := make(chan events.Recorded, 1)
	go func() {
		if ev, err := sub.Next(s.ctx); err == nil {
			got <- ev
		}
		close(got)
	}()
	s.must("later-2", events.NoStream(), event("not this"))
	s.must("later-1", events.NoStream(), event("this"))
	if ev := <-got; label(ev) != "later-1@0" {
		s.Errorf("got %s", label(ev))
	}
}

func subscribeFrom(s *suite) {
	s.must("f-1", events.NoStream(), eventsNamed(5, "e")...)
	all := s.all()
	same(s, "middle of the stream", labels(s.take(s.subscribeStream("f-1", 3), 2)), []string{"f-1@3", "f-1@4"})
	same(s, "middle of the log", labels(s.take(s.subscribeAll(all[2].Position, events.Filter{}), 3)), []string{"f-1@2", "f-1@3", "f-1@4"})
	beyond := s.subscribeStream("f-1", 7)
	end := s.subscribeAll(all[4].Position+1, events.Filter{})
	s.must("f-1", events.Exact(4), eventsNamed(4, "more")...)
	same(s, "beyond the end of the stream", labels(s.take(beyond, 2)), []string{"f-1@7", "f-1@8"})
	same(s, "end of the log", labels(s.take(end, 4)), []string{"f-1@5", "f-1@6", "f-1@7", "f-1@8"})
}

func filteredSubscription(s *suite) {
	f := events.Filter{Categories: []events.Category{"agent", "inbox"}, Types: []events.Type{"Alpha"}}
	before := s.fill(30)
	sub := s.subscribeAll(0, f)
	live := s.subscribeAll(before[len(before)-1].Position+1, f)
	all := s.fill(30)
	var want, wantLive []string
	for i, ev := range all {
		if f.Matches(ev.Stream, ev.Type) {
			want = append(want, label(ev))
			if i >= len(before) {
				wantLive = append(wantLive, label(ev))
			}
		}
	}
	same(s, "from the start", labels(s.take(sub, len(want))), want)
	same(s, "live only", labels(s.take(live, len(wantLive))), wantLive)
}

// seam has writers at work while subscriptions begin, catch up and go live.
func seam(s *suite) {
	const writers, each = 4, 150
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				if _, err := s.Append(s.ctx, events.Stream(fmt.Sprintf("w%d-1", w)), events.Any(), event(fmt.Sprint(i))); err != nil {
					s.Errorf("Append: %v", err)
					return
				}
			}
		})
	}
	var reading sync.WaitGroup
	for r := range 6 {
		filter, total := events.Filter{}, writers*each
		if r%2 == 1 {
			filter, total = events.Filter{Categories: []events.Category{"w1", "w2"}}, 2*each
		}
		sub := s.subscribeAll(0, filter)
		reading.Go(func() { s.follow(sub, total) })
	}
	for w := range writers {
		sub := s.subscribeStream(events.Stream(fmt.Sprintf("w%d-1", w)), 0)
		reading.Go(func() { s.follow(sub, each) })
	}
	writing.Wait()
	reading.Wait()
}

// follow reads total events and checks that each stream's come in order without
// gap, and positions grow.
func (s *suite) follow(sub events.Subscription, total int) {
	next := map[events.Stream]events.Revision{}
	var last events.Position
	for i := range total {
		ev, err := sub.Next(s.ctx)
		if err != nil {
			s.Errorf("Next, after %d of %d events: %v", i, total, err)
			return
		}
		if ev.Revision != next[ev.Stream] || (i > 0 && ev.Position <= last) {
			s.Errorf("%s at position %d after position %d; want revision %d", label(ev), ev.Position, last, next[ev.Stream])
			return
		}
		next[ev.Stream]++
		last = ev.Position
	}
}

func slowReader(s *suite) {
	const n = 1000
	slow := s.subscribeAll(0, events.Filter{})
	s.take0(slow)
	for i := range n / 20 {
		s.must("slow-1", events.Any(), eventsNamed(20, fmt.Sprint(i))...)
	}
	got := s.take(slow, n)
	for i, ev := range got {
		if ev.Revision != events.Revision(i) {
			s.Fatalf("event %d has revision %d", i, ev.Revision)
		}
	}
}

// take0 lets a subscription look at the log once, so that it is live.
func (s *suite) take0(sub events.Subscription) {
	s.Helper()
	s.must("warm-1", events.NoStream(), event("x"))
	s.take(sub, 1)
}

func seenIsDurable(s *suite) {
	sub := s.subscribeAll(0, events.Filter{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 300 {
			if _, err := s.Append(s.ctx, "d-1", events.Any(), event(fmt.Sprint(i))); err != nil {
				s.Errorf("Append: %v", err)
				return
			}
		}
	}()
	for range 300 {
		ev, err := sub.Next(s.ctx)
		if err != nil {
			s.Fatal(err)
		}
		if head, ok, err := s.Head(s.ctx); err != nil || !ok || head < ev.Position {
			s.Fatalf("saw position %d while the head is %d, %v, %v", ev.Position, head, ok, err)
		}
	}
	<-done
}

func endings(s *suite) {
	waitFor := func(what string, ctx context.Context, end func(events.Subscription), want error) {
		s.Helper()
		for _, sub := range []events.Subscription{s.subscribeAll(0, events.Filter{}), s.subscribeStream("none-1", 0)} {
			errs := make(chan error, 1)
			go func() {
				_, err := sub.Next(ctx)
				errs <- err
			}()
			end(sub)
			if err := <-errs; !errors.Is(err, want) {
				s.Errorf("%s: Next ended with %v, want %v", what, err, want)
			}
		}
	}
	ctx, cancel := context.WithCancel(s.ctx)
	waitFor("context", ctx, func(events.Subscription) { cancel() }, context.Canceled)
	waitFor("Close", s.ctx, func(sub events.Subscription) {
		for range 2 {
			if err := sub.Close(); err != nil {
				s.Errorf("Close: %v", err)
			}
		}
	}, events.ErrClosed)
	// After its context ended, a subscription goes on where it was.
	sub := s.subscribeAll(0, events.Filter{})
	if _, err := sub.Next(ctx); !errors.Is(err, context.Canceled) {
		s.Errorf("Next: %v", err)
	}
	s.must("go-1", events.NoStream(), event("x"))
	same(s, "after a cancelled Next", labels(s.take(sub, 1)), []string{"go-1@0"})
}

// comeAndGo opens and closes subscriptions while a writer works.
func comeAndGo(s *suite) {
	stop := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := s.Append(s.ctx, "busy-1", events.Any(), event("x")); err != nil {
				s.Errorf("Append: %v", err)
				return
			}
		}
	})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				sub, err := s.SubscribeStream(s.ctx, "busy-1", 0)
				if err != nil {
					s.Error(err)
					return
				}
				if _, err := sub.Next(s.ctx); err != nil {
					s.Error(err)
				}
				sub.Close()
				if _, err := sub.Next(s.ctx); !errors.Is(err, events.ErrClosed) {
					s.Errorf("Next after Close: %v", err)
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	writing.Wait()
}
