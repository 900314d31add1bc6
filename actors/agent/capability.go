package agent

import "github.com/caxton-run/caxton/events"

// HasCapability reports whether the agent has registered a capability.
func (s *State) HasCapability(name string) bool {
	_, ok := s.skills[name]
	return ok
}

// Capabilities is the number of capabilities that the agent has registered.
func (s *State) Capabilities() int { return len(s.skills) }

func (s *State) learn(name string) {
	if s.skills == nil {
		s.skills = make(map[string]struct{})
	}
	s.skills[name] = struct{}{}
}

// register makes events of capabilities that the agent does not have yet.
func (s *State) register(names []string, by events.MessageID) []events.Payload {
	var out []events.Payload
	for _, name := range names {
		if !s.HasCapability(name) {
			out = append(out, events.CapabilityRegistered{Capability: name, RegisteredBy: by})
		}
	}
	return out
}
