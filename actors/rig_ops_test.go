package actors

import (
	"time"

	"github.com/caxton-run/caxton/events"
)

// until waits for what no event tells: it looks again and again.
func (r *rig) until(what string, is func() bool) {
	r.t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for !is() {
		select {
		case <-poll.C:
		case <-late.C:
			r.t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// working waits until messages wait or run.
func (r *rig) working(n int) {
	r.t.Helper()
	r.until("messages arrive", func() bool { return r.sys.QueueDepth() >= n })
}

// spinning deploys an agent whose guest never ends by itself.
func (r *rig) spinning() events.AgentID {
	r.t.Helper()
	return r.deployWasm("spin", hostile(r.t, "spin"), func(q *DeployRequest) {
		q.Limits.MaxFuel = events.LimitCeilings().MaxFuel
		q.Limits.MaxExecutionTimeMS = events.LimitCeilings().MaxExecutionTimeMS
	})
}
