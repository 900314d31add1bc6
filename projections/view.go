package projections

import (
	"slices"
	"strings"
	"time"

	"github.com/caxton-run/caxton/events"
)

// AgentView is one agent as readers see it: the agent object of the REST API.
type AgentView struct {
	ID              events.AgentID        `json:"id"`
	Name            string                `json:"name"`
	Status          string                `json:"status"` // running, suspended, draining, stopped, failed
	Module          events.ModuleHash     `json:"module_sha256"`
	ModuleSize      int                   `json:"module_size"` // bytes
	Limits          events.ResourceLimits `json:"resource_limits"`
	Priority        events.Priority       `json:"priority"`
	Labels          events.Labels         `json:"labels"`
	Node            events.MemberID       `json:"node"`
	Revision        events.Revision       `json:"revision"`
	CreatedAt       time.Time             `json:"created_at"`
	UpdatedAt       time.Time             `json:"updated_at"`
	Capabilities    []string              `json:"capabilities"`
	Timers          int                   `json:"timers,omitempty"` // pending
	FuelUsed        events.Fuel           `json:"fuel_used"`
	MessagesHandled uint64                `json:"messages_handled"`
	MessagesFailed  uint64                `json:"messages_failed"`
	LastError       *LastError            `json:"last_error,omitempty"`
	Warnings        []string              `json:"warnings,omitempty"`
	Snapshotable    bool                  `json:"snapshotable"` // false: it wakes by replay only

	// From where its history is kept and when the rest was removed (events.retention);
	// absent while it is whole.
	HistoryFrom      events.Revision `json:"history_from_revision,omitempty"`
	HistoryRemovedAt *time.Time      `json:"history_removed_at,omitempty"`
	HistoryEvent     events.Revision `json:"-"` // of the HistoryTrimmed that says so
}

// shown is the view as readers get it. Whether the module can be snapshotted stands
// in the log as a warning only, since whoever deployed it was told so.
func (v AgentView) shown() AgentView {
	v.Snapshotable = !slices.ContainsFunc(v.Warnings, func(w string) bool { return strings.HasPrefix(w, events.WarnReplayOnly) })
	return v
}

// LastError is the newest failure of an agent.
type LastError = events.AgentError

// Page is a part of the list of agents, in order of creation.
type Page struct {
	Agents []AgentView
	Total  int    // agents in all
	Next   string // cursor of the next page; empty after the last
}
