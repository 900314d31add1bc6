package agent

import (
	"strings"

	"github.com/caxton-run/caxton/events"
)

// channel is what a sequence counts within: the messages of one priority to or from
// one agent. They are handled in order; those of another priority may pass them.
type channel struct {
	peer  events.AgentID
	class events.Priority
}

// MarshalText implements encoding.TextMarshaler: the agent's id, and "/" and the
// priority where it is not normal.
func (c channel) MarshalText() ([]byte, error) {
	if c.class == events.Normal {
		return []byte(c.peer.String()), nil
	}
	return []byte(c.peer.String() + "/" + string(c.class)), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *channel) UnmarshalText(b []byte) error {
	id, class, marked := strings.Cut(string(b), "/")
	peer, err := events.ParseAgentID(id)
	if err != nil {
		return err
	}
	p, err := events.ParsePriority(class)
	if err != nil {
		return err
	}
	if marked != (p != events.Normal) {
		return events.Invalidf("priority", "must not be written when it is normal: %.60q", b)
	}
	c.peer, c.class = peer, p
	return nil
}
