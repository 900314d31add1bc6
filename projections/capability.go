package projections

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/caxton-run/caxton/events"
)

// register notes that an agent has a capability.
func (a *Agents) register(e *entry, name string) {
	if slices.Contains(e.view.Capabilities, name) {
		return
	}
	// A copy: views that were given out share the old list.
	e.view.Capabilities = append(slices.Clone(e.view.Capabilities), name)
	slices.Sort(e.view.Capabilities)
	a.skills[name] = within(a.skills[name], e)
}

// ResolveFor finds whom a message of a conversation is for: ref is what Resolve
// takes, or "capability:" and a name.
//
// Of several agents with a capability, one is chosen by rendezvous hashing: the
// one with the highest hash of conversation and agent. So the messages of one
// conversation go to one agent, different conversations spread evenly over all, and
// an agent that comes or goes moves only the conversations that it gains or loses.
// Those that run are chosen from; if none does, those that are suspended; last, those that
// Avoid leaves out.
//
// Errors: those of Resolve; *events.InvalidError for a name that no capability can
// have.
func (a *Agents) ResolveFor(ref, conversation string) (events.AgentID, error) {
	name, ok := strings.CutPrefix(ref, events.CapabilityPrefix)
	if !ok {
		return a.Resolve(ref)
	}
	if err := events.CheckCapability(name); err != nil {
		return events.AgentID{}, err
	}
	for _, from := range a.candidates(name) {
		if len(from) > 0 {
			return rendezvous(from, conversation), nil
		}
	}
	return events.AgentID{}, fmt.Errorf("%w: none that runs or is suspended has the capability %q", events.ErrAgentNotFound, name)
}

// Avoid has ResolveFor leave agents out as long as there are others: what is true of one
// need not stand in the log yet.
func (a *Agents) Avoid(leaving func(events.AgentID) bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.leaving = leaving
}

// candidates are those that have a capability: that run, that are suspended, and those of
// both that are to be avoided.
func (a *Agents) candidates(name string) (from [3][]events.AgentID) {
	a.mu.RLock()
	leaving := a.leaving
	for _, e := range a.skills[name] {
		switch e.view.Status {
		case "running":
			from[0] = append(from[0], e.view.ID)
		case "suspended":
			from[1] = append(from[1], e.view.ID)
		}
	}
	a.mu.RUnlock()
	if leaving == nil {
		return from
	}
	for i, list := range from[:2] { // without the lock: who is asked has locks of its own
		from[i] = slices.DeleteFunc(list, func(id events.AgentID) bool {
			gone := leaving(id)
			if gone {
				from[2] = append(from[2], id)
			}
			return gone
		})
	}
	return from
}

// rendezvous returns the agent with the highest hash.
func rendezvous(from []events.AgentID, conversation string) (best events.AgentID) {
	var most uint64
	for i, id := range from {
		h := fnv.New64a()
		_, _ = h.Write([]byte(conversation)) // a hash takes everything
		_, _ = h.Write(id[:])
		if sum := mix(h.Sum64()); i == 0 || sum > most {
			best, most = id, sum
		}
	}
	return best
}

// mix spreads FNV's weak upper bits (the finaliser of MurmurHash3, 64 bits).
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
