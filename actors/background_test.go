package actors

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/caxton-run/caxton/events"
)

// niceThreads counts the threads of this process that are nicer than its first, which
// ran before any guest did.
func niceThreads(t *testing.T) (n int) {
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

// threadNice is field 19 of proc_pid_stat(5); 0 for a thread that is gone.
func threadNice(id int) (nice int) {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/stat", id))
	_, rest, _ := strings.Cut(string(stat), ") ")
	if f := strings.Fields(rest); len(f) > 16 {
		_, _ = fmt.Sscan(f[16], &nice)
	}
	return nice
}

// TestAfterALongRunTheNextGivesWay: an agent whose last message took long handles its
// next one on a thread that gives way to others, and that ends with it.
func TestAfterALongRunTheNextGivesWay(t *testing.T) {
	r := newRig(t, nil)
	if niceThreads(t) != 0 || threadNice(os.Getpid()) > 9 {
		t.Skip("this process is nice by itself")
	}
	spin := r.deployWasm("spin", hostile(t, "spin"), func(q *DeployRequest) {
		q.Limits.MaxFuel = events.LimitCeilings().MaxFuel
		q.Limits.MaxExecutionTimeMS = 100 // and it is tried again
	})
	q := request(spin, "1")
	q.Wait = 0
	if _, err := r.Send(context.Background(), q); err != nil {
		t.Fatal(err)
	}
	r.until("it gives way", func() bool { return niceThreads(t) == 1 })
	r.stopAll(StopAllRequest{})
	r.until("the thread ends", func() bool { return niceThreads(t) == 0 })
}

// TestNoMessageIsSetAsideForGivingWay: the last run before that is as any other.
func TestNoMessageIsSetAsideForGivingWay(t *testing.T) {
	r := newRig(t, nil)
	if niceThreads(t) != 0 || threadNice(os.Getpid()) > 9 {
		t.Skip("this process is nice by itself")
	}
	spin := r.deployWasm("spin", hostile(t, "spin"), func(q *DeployRequest) {
		q.Limits.MaxFuel = events.LimitCeilings().MaxFuel
		q.Limits.MaxExecutionTimeMS = 300
	})
	q := request(spin, "1")
	q.Wait = 0
	if _, err := r.Send(context.Background(), q); err != nil {
		t.Fatal(err)
	}
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
