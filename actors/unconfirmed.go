package actors

import (
	"errors"
	"slices"
	"sync"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/replay"
)

// unconfirmed knows whose history a replay does not come to. It would come to something
// else at each pass, and a whole history is much to run for that; so it is replayed
// again only after the agent has begun anew. It holds an error an agent at most.
type unconfirmed struct {
	mu  sync.Mutex               // guards below
	why map[events.AgentID]error // nil while a replay is under way
}

// begin says that an agent's history is about to be replayed. An error is what the last
// replay came to.
func (u *unconfirmed) begin(id events.AgentID) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if known := u.why[id]; known != nil {
		return known
	}
	if u.why == nil {
		u.why = make(map[events.AgentID]error)
	}
	u.why[id] = nil
	return nil
}

// end notes what a replay came to, unless the agent began anew meanwhile. Another error
// than that the history is not what was run may be none the next time.
func (u *unconfirmed) end(id events.AgentID, err error) {
	var other *replay.UnconfirmedError
	var diverged *replay.DivergedError
	lasts := errors.As(err, &other) || errors.As(err, &diverged)
	u.mu.Lock()
	defer u.mu.Unlock()
	switch _, under := u.why[id]; {
	case !under:
	case lasts:
		u.why[id] = err
	default:
		delete(u.why, id)
	}
}

// forget takes an agent out once its guest began anew, or is no more.
func (u *unconfirmed) forget(id events.AgentID) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.why, id)
}

// beginAnew reports whether one of the events gives the agent another guest, or ends
// it: what a replay comes to from there on does not rest on what was before.
func beginAnew(list []events.Event) bool {
	return slices.ContainsFunc(list, func(ev events.Event) bool {
		switch ev.Type {
		case events.AgentRestarted{}.EventType(), events.AgentUpdated{}.EventType(), events.AgentRemoved{}.EventType():
			return true
		}
		return false
	})
}
