package projections

import (
	"fmt"
	"sort"

	"github.com/caxton-run/caxton/events"
)

const (
	// minPrefix is the shortest prefix of an id that names an agent: shorter
	// ones would match by accident.
	minPrefix = 4

	// idLength is an id's length in its text form.
	idLength = 36

	// maxMatches bounds the agents that an ambiguous reference is told to mean.
	// The list is shown to people and recorded with a send that leads nowhere;
	// names need not be unique, so it could be of every agent.
	maxMatches = 16
)

// Resolve finds the one living agent that ref names: an id, a name, or a prefix
// of an id of at least four characters. A name goes before a prefix. Errors:
// events.ErrAgentNotFound; *events.AmbiguousError when several match, with the
// oldest 16 of them.
func (a *Agents) Resolve(ref string) (events.AgentID, error) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if id, err := events.ParseAgentID(ref); err == nil {
		if a.byID[id] == nil {
			return events.AgentID{}, unknown(ref)
		}
		return id, nil
	}
	found := a.named(ref)
	if len(found) == 0 {
		found = a.withPrefix(ref)
	}
	switch len(found) {
	case 0:
		return events.AgentID{}, unknown(ref)
	case 1:
		return found[0], nil
	}
	sort.Slice(found, func(i, j int) bool { return found[i].String() < found[j].String() })
	return events.AgentID{}, &events.AmbiguousError{Ref: ref, Matches: found}
}

// maxRefTold bounds what an error repeats of a reference: names are no longer.
const maxRefTold = 64

func unknown(ref string) error {
	return fmt.Errorf("agent %.*q: %w", maxRefTold, ref, events.ErrAgentNotFound)
}

// Named returns the living agents of exactly this name, the oldest first, at most
// 16. Unlike Resolve it never takes a name for the beginning of an id.
func (a *Agents) Named(name string) []events.AgentID {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.named(name)
}

func (a *Agents) named(name string) []events.AgentID {
	same := a.byName[name]
	var found []events.AgentID
	for _, e := range same[:min(len(same), maxMatches)] {
		found = append(found, e.view.ID)
	}
	return found
}

func (a *Agents) withPrefix(ref string) []events.AgentID {
	digits, ok := parsePrefix(ref)
	if !ok {
		return nil
	}
	var found []events.AgentID
	for _, e := range a.begin[idStart{digits[0]<<4 | digits[1], digits[2]<<4 | digits[3]}] {
		if begins(e.view.ID, digits) {
			if found = append(found, e.view.ID); len(found) == maxMatches {
				break
			}
		}
	}
	return found
}

// idStart is the part of an id that every prefix has. A guest may send a thousand messages
// to prefixes at once: looked for among all agents they would take seconds, which nothing
// meters.
type idStart [minPrefix / 2]byte

func startOf(id events.AgentID) idStart { return idStart(id[:minPrefix/2]) }

// parsePrefix reads the beginning of an id in its text form, in either case, as
// its hex digits. Most references that name no agent end here, and those that do
// not are compared without making a string of every id.
func parsePrefix(ref string) (digits []byte, ok bool) {
	if len(ref) < minPrefix || len(ref) >= idLength {
		return nil, false
	}
	for i := range len(ref) {
		c := ref[i]
		dash := i == 8 || i == 13 || i == 18 || i == 23
		switch {
		case dash != (c == '-'):
			return nil, false
		case dash:
		case '0' <= c && c <= '9':
			digits = append(digits, c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			digits = append(digits, c|0x20-'a'+10)
		default:
			return nil, false
		}
	}
	return digits, true
}

// begins reports whether id begins with these hex digits.
func begins(id events.AgentID, digits []byte) bool {
	for i, d := range digits {
		b := id[i/2]
		if i%2 == 0 {
			b >>= 4
		}
		if b&0x0f != d {
			return false
		}
	}
	return true
}
