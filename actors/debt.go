package actors

import (
	"time"

	"github.com/caxton-run/caxton/events"
)

// replayDebt is what the next wake of an agent has to do again: what happened
// since its newest snapshot. Its zero value is none.
type replayDebt struct {
	events int
	work   time.Duration
}

// What a wake pays, on a machine of two slow processors. Reckoned and not
// measured, so that a busy machine does not write more snapshots; a wake that
// happened is measured.
const (
	debtOfEvent  = 10 * time.Microsecond // to read, decode, apply and deliver it
	debtOfByte   = 10 * time.Nanosecond  // of its JSON
	fuelOfSecond = 2_000_000_000         // what a guest burns in a second at the least
)

// wakeGoal is what a wake may take after the snapshot is restored. Half of it is
// common, since debts are of any size up to it.
const wakeGoal = 5 * time.Millisecond

// snapshotPayback is how many times as long as making a snapshot takes the debt
// that it pays must be: a guest that changes megabytes with each message is
// replayed for longer rather than captured all the time.
const snapshotPayback = 4

// maxRerun is how long a guest may take for the messages that a wake runs again. Only
// one that has no snapshots comes near: it runs all since it began, after each trap
// too. Beyond it the agent is refused by name until it is restarted; a node that tried
// for hours, again with each message, would do nothing else.
const maxRerun = 10 * time.Minute

// add is a turn that was committed: its events, their bytes, and the fuel of the
// runs that a replay repeats.
func (d *replayDebt) add(count, bytes int, fuel events.Fuel) {
	d.events += count
	d.work += time.Duration(count)*debtOfEvent + time.Duration(bytes)*debtOfByte
	d.work += time.Duration(float64(fuel) / fuelOfSecond * float64(time.Second))
}

// due reports whether a snapshot is worth writing: every is the most events that
// a wake may replay, last what making the last snapshot took.
func (d replayDebt) due(every int, last time.Duration) bool {
	return d.events >= every || d.work >= max(wakeGoal, snapshotPayback*last)
}

// hibernateShare of what makes a snapshot due is enough at hibernation, when
// there is time: the next wake is likely.
const hibernateShare = 10

// dueAtRest is due for an agent that goes to sleep.
func (d replayDebt) dueAtRest(every int, last time.Duration) bool {
	scaled := replayDebt{d.events * hibernateShare, d.work * hibernateShare}
	return scaled.due(every, last)
}
