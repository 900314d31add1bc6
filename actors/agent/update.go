package agent

import (
	"fmt"

	"github.com/caxton-run/caxton/events"
)

// Update changes what an agent runs and within which bounds. What is zero stays, a
// limit on its own too; a value that is so already is no change.
type Update struct {
	Module     events.ModuleHash
	ModuleSize int
	Warnings   []string
	Limits     events.ResourceLimits
	Priority   events.Priority
	Labels     *events.Labels // all of them
	Reason     string

	// Capabilities that Module registers while it starts. Those of the module before
	// stay: which of them were its own is not known.
	Capabilities []string

	// Migration is what caxton_migrate of Module did to the state as it stands. Whoever
	// decides has run it; nil when the module has none.
	Migration *events.Migration
}

func (Update) isCommand() {}

// NewModule reports whether the update brings another module than s has.
func (c Update) NewModule(s *State) bool { return c.Module != "" && c.Module != s.Module }

// LimitsOf returns the limits that an agent with these will have.
func (c Update) LimitsOf(now events.ResourceLimits) events.ResourceLimits {
	if c.Limits.MaxMemoryBytes > 0 {
		now.MaxMemoryBytes = c.Limits.MaxMemoryBytes
	}
	if c.Limits.MaxFuel > 0 {
		now.MaxFuel = c.Limits.MaxFuel
	}
	if c.Limits.MaxExecutionTimeMS > 0 {
		now.MaxExecutionTimeMS = c.Limits.MaxExecutionTimeMS
	}
	return now
}

func (s *State) update(c Update) ([]events.Payload, error) {
	e := events.AgentUpdated{Labels: c.Labels, Reason: plain(c.Reason)}
	changes := c.Labels != nil // labels are not part of the state
	if c.NewModule(s) {
		if m := c.Migration; m != nil {
			if why := s.values.overflow(m.State); why != "" {
				return nil, fmt.Errorf("update agent %s: %w", s.ID, &events.MigrationError{Outcome: events.OutcomeEffectsTooLarge, Detail: why})
			}
		}
		e.From, e.Module, e.ModuleSize, e.Warnings, e.Migration = s.Module, c.Module, c.ModuleSize, c.Warnings, c.Migration
		changes = true
	}
	if l := c.LimitsOf(s.Limits); l != s.Limits {
		e.Limits, changes = &l, true
	}
	if now, _ := events.ParsePriority(string(s.Priority)); c.Priority != "" && c.Priority != now {
		e.Priority, changes = c.Priority, true
	}
	if !changes {
		return nil, nil
	}
	out := []events.Payload{e}
	if e.Module != "" {
		out = append(out, s.register(c.Capabilities, events.MessageID{})...)
	}
	return out, nil
}

// updated is what an AgentUpdated does.
func (s *State) updated(e events.AgentUpdated) {
	if e.Module != "" {
		s.Module, s.crash = e.Module, crashes{}
	}
	if e.Limits != nil {
		s.Limits = *e.Limits
	}
	if e.Priority != "" {
		s.Priority = e.Priority
	}
	if m := e.Migration; m != nil {
		s.Clock = max(s.Clock, m.Host.NowMicros)
		for _, c := range m.State {
			s.values.change(c)
		}
	}
}
