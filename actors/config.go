package actors

import (
	"time"

	"github.com/caxton-run/caxton/events"
)

// Config bounds the live system. DefaultConfig has a value for every field.
type Config struct {
	MailboxSize   int           // messages waiting for one agent; more are refused with events.ErrMailboxFull
	InboxSize     int           // messages waiting in one agent's inbox; more are refused with events.ErrMailboxFull
	TurnMessages  int           // messages in one turn, at most
	TurnBudget    time.Duration // a turn takes no further message once it has run this long
	MaxContent    int           // bytes of one message's content; what does not fit an event stands in a blob
	SpillAfter    time.Duration // a message that waited this long is put into the agent's inbox and acknowledged
	IdleTimeout   time.Duration // an agent without messages for this long hibernates
	MaxAgents     int           // deployed at once
	DrainTimeout  time.Duration // at shutdown, for turns under way and messages waiting
	SnapshotEvery int           // events that a wake may have to replay before a snapshot is written
	TrimEvents    int           // events that an agent's history has to have too many before they are given up
	Ceiling       events.ResourceLimits
	Breakers      BreakerRules
	DumpDirs      []string // absolute; where dumps may be written
}

// DefaultConfig returns the values of a server with nothing configured.
func DefaultConfig() Config {
	return Config{
		MailboxSize:   1000,
		InboxSize:     100_000,
		TurnMessages:  64,
		TurnBudget:    20 * time.Millisecond,
		MaxContent:    events.MaxMessageContent,
		SpillAfter:    100 * time.Millisecond,
		IdleTimeout:   60 * time.Second,
		MaxAgents:     1_000_000,
		DrainTimeout:  30 * time.Second,
		SnapshotEvery: 1000,
		TrimEvents:    trimMin,
		Ceiling:       events.LimitCeilings(),
		Breakers:      DefaultBreakerRules(),
	}
}

// Validate reports every field that is out of bounds, as one
// *events.InvalidError.
func (c Config) Validate() error {
	var f events.Faults
	atLeast := func(name string, v, low int64) {
		if v < low {
			f.Add(name, "must be at least %d, got %d", low, v)
		}
	}
	atLeast("messaging.mailbox_size", int64(c.MailboxSize), 1)
	atLeast("messaging.inbox_size", int64(c.InboxSize), 1)
	atLeast("messaging.turn_messages", int64(c.TurnMessages), 1)
	atLeast("messaging.turn_budget", int64(c.TurnBudget), int64(time.Millisecond))
	atLeast("messaging.spill_after", int64(c.SpillAfter), int64(time.Millisecond))
	atLeast("runtime.idle_timeout", int64(c.IdleTimeout), int64(10*time.Millisecond))
	atLeast("runtime.max_agents", int64(c.MaxAgents), 1)
	atLeast("runtime.drain_timeout", int64(c.DrainTimeout), 0)
	atLeast("runtime.snapshot_every", int64(c.SnapshotEvery), 1)
	atLeast("events.trim_events", int64(c.TrimEvents), 1)
	if c.MaxContent < 1 || c.MaxContent > events.MaxContentCeiling {
		f.Add("messaging.max_message_bytes", "must be 1 to %d, got %d", events.MaxContentCeiling, c.MaxContent)
	}
	if c.TurnMessages > events.MaxAppendEvents/16 {
		f.Add("messaging.turn_messages", "must be at most %d, got %d", events.MaxAppendEvents/16, c.TurnMessages)
	}
	c.Breakers.check(&f)
	return f.Err()
}
