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
// Those that run are chosen from; if none does, those that are suspended.
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
	a.mu.RLock()
	defer a.mu.RUnlock()
	for _, status := range []string{"running", "suspended"} {
		if id, ok := rendezvous(a.skills[name], status, conversation); ok {
			return id, nil
		}
	}
	return events.AgentID{}, fmt.Errorf("%w: none that runs or is suspended has the capability %q", events.ErrAgentNotFound, name)
}

// rendezvous returns the agent of that status with the highest hash.
func rendezvous(list []*entry, status, conversation string) (best events.AgentID, ok bool) {
	var most uint64
	for _, e := range list {
		if e.view.Status != status {
			continue
		}
		h := fnv.New64a()
		_, _ = h.Write([]byte(conversation)) // a hash takes everything
		_, _ = h.Write(e.view.ID[:])
		if sum := mix(h.Sum64()); !ok || sum > most {
			best, most, ok = e.view.ID, sum, true
		}
	}
	return best, ok
}

// mix spreads FNV's weak upper bits (the finaliser of MurmurHash3, 64 bits).
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
