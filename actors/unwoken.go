package actors

import (
	"errors"
	"sync"

	"github.com/caxton-run/caxton/events"
)

// maxUnwoken bounds what is remembered of agents that cannot be woken, some 200 bytes
// each. Beyond it all are forgotten, and told of once more.
const maxUnwoken = 65_536

// unwoken knows why agents could not be woken, so that it is told once and not at each
// of the tries, which go on: every few seconds, of each agent, for as long as a node has
// no room.
type unwoken struct {
	mu  sync.Mutex // guards below
	why map[events.AgentID]string
}

// isNew notes why an agent could not be woken and reports whether that was another
// reason the last time, or none. Want of room is one reason, whatever the numbers.
func (u *unwoken) isNew(id events.AgentID, err error) bool {
	why := err.Error()
	if errors.Is(err, events.ErrOverloaded) {
		why = events.ErrOverloaded.Error()
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.why[id] == why {
		return false
	}
	if u.why == nil || len(u.why) >= maxUnwoken {
		u.why = make(map[events.AgentID]string)
	}
	u.why[id] = why
	return true
}

// forget says that an agent was woken, and reports whether it could not be before.
func (u *unwoken) forget(id events.AgentID) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	_, was := u.why[id]
	delete(u.why, id)
	return was
}
