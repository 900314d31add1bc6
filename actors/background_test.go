package actors

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
)

// niceThreads counts the threads of this process that are nicer than its first, which
// ran before any guest did.
func niceThreads(t testing.TB) (n int) {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Skip(err)
	}
	first := threadNice(os.Getpid())
	for _, task := range tasks {
		var id int
		if _, err := fmt.Sscan(task.Name(), &id); err == nil && threadNice(id) > first {
			n++
		}
	}
	return n
}

// threadNice is a thread's niceness; 0 for one that is gone.
func threadNice(id int) int {
	n, err := syscall.Getpriority(syscall.PRIO_PROCESS, id)
	if err != nil {
		return 0
	}
	return 20 - n // what the kernel returns is never negative (getpriority(2))
}

// spinsFor sends a message to an agent that takes all of its time for it, and is tried again.
func (r *rig) spinsFor(limit time.Duration) events.AgentID {
	r.t.Helper()
	if niceThreads(r.t) != 0 || threadNice(os.Getpid()) > 9 {
		r.t.Skip("this process is nice by itself")
	}
	spin := r.deployWasm("spin", hostile(r.t, "spin"), slowly(limit))
	q := request(spin, "1")
	q.Wait = 0
	if _, err := r.Send(context.Background(), q); err != nil {
		r.t.Fatal(err)
	}
	return spin
}

// TestAfterALongRunTheNextGivesWay: an agent whose last message took long handles its
// next one on a thread that gives way to others, and that ends with it.
func TestAfterALongRunTheNextGivesWay(t *testing.T) {
	r := newRig(t, nil)
	r.spinsFor(100 * time.Millisecond)
	r.until("it gives way", func() bool { return niceThreads(t) == 1 })
	r.stopAll(StopAllRequest{})
	r.until("the thread ends", func() bool { return niceThreads(t) == 0 })
}

// TestNoMessageIsSetAsideForGivingWay: the last run before that is as any other.
func TestNoMessageIsSetAsideForGivingWay(t *testing.T) {
	r := newRig(t, nil)
	spin := r.spinsFor(300 * time.Millisecond)
	r.until("the second run gives way", func() bool { return niceThreads(t) == 1 })
	r.until("it has ended", func() bool { return len(only[events.AgentCrashed](r, events.AgentStream(spin))) == 2 })
	r.until("the thread ends", func() bool { return niceThreads(t) == 0 })
	r.until("the third has ended", func() bool {
		if n := niceThreads(t); n != 0 {
			t.Fatalf("%d threads give way", n)
		}
		return len(only[events.AgentQuarantined](r, events.AgentStream(spin))) == 1
	})
}
