package actors

// Room says whether there is room for new work. A Store that watches its disk is
// one. Messages from outside, deployments, snapshots and agents' sends wait or
// are refused while there is none; turns under way, and what ends something
// (suspending, removing), go on.
type Room interface {
	// Admit returns nil, or an error that is events.ErrDiskLow. It must not
	// block.
	Admit() error
	// Regained holds a token, for one reader, after Admit began to return nil
	// again.
	Regained() <-chan struct{}
}

// endless is room without a bound.
type endless struct{}

// Admit implements Room.
func (endless) Admit() error { return nil }

// Regained implements Room.
func (endless) Regained() <-chan struct{} { return nil }

// resume takes up, once there is room again, what could not go on for want of
// it: timers, sends in flight, and messages in inboxes whose turns failed.
func (d *dispatcher) resume() {
	d.sys.timekeeper.resume()
	d.sys.deps.InFlight.MarkAll()
	d.sys.waker.wake()
}
