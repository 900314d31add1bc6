package projections

import (
	"slices"
	"time"

	"github.com/caxton-run/caxton/events"
)

// maxFormer bounds the removed agents that are remembered: the newest ones. They take
// some 200 bytes each.
const maxFormer = 100_000

// former are the agents removed within RequestLifetime: a request may be repeated whose
// agent is no more, and its name another's.
//
// Invariant: order, byID and the lists of byName hold the same agents.
type former struct {
	order  []formerAgent // as they were removed
	byID   map[events.AgentID]struct{}
	byName map[string][]events.AgentID // likewise; never empty
}

type formerAgent struct {
	id   events.AgentID
	name string
	at   time.Time // recorded time of the removal
}

func newFormer() former {
	return former{byID: make(map[events.AgentID]struct{}), byName: make(map[string][]events.AgentID)}
}

func (f *former) add(a formerAgent) {
	f.order = append(f.order, a)
	f.byID[a.id] = struct{}{}
	f.byName[a.name] = append(f.byName[a.name], a.id)
	for len(f.order) > maxFormer || a.at.Sub(f.order[0].at) > RequestLifetime {
		f.drop(f.order[0])
		f.order = f.order[1:]
	}
}

// drop forgets the oldest, which is the first of its name as well.
func (f *former) drop(a formerAgent) {
	delete(f.byID, a.id)
	if same := f.byName[a.name][1:]; len(same) > 0 {
		f.byName[a.name] = same
	} else {
		delete(f.byName, a.name)
	}
}

// Former returns the agents removed of late that ref meant, an id or a name: those within
// 24 hours before the newest removal, the newest first, at most 16.
func (a *Agents) Former(ref string) []events.AgentID {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if id, err := events.ParseAgentID(ref); err == nil {
		if _, ok := a.former.byID[id]; ok {
			return []events.AgentID{id}
		}
		return nil
	}
	same := a.former.byName[ref]
	found := slices.Clone(same[max(0, len(same)-maxMatches):])
	slices.Reverse(found)
	return found
}
