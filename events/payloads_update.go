package events

// AgentUpdated changes what an agent runs and within which bounds. What is absent
// stays as it was.
//
// A new module begins with an empty memory; the agent's durable state, its
// Idempotency-Keys, its sequences and its inbox stay. If the module exports
// caxton_migrate, that has run before this event and may have changed the state. An
// update whose migration failed is refused and leaves no event.
//
//   - Stream: agent-<uuid>.
//   - When: an agent of any status but removed is told to change something that is not
//     so already. A new module's bytes stand in module-<sha256> before it.
//   - By: the agent's actor, at the request of the principal in the metadata.
//   - Agent: module, limits and priority are set; with a new module all counts of
//     crashes begin anew, the clock moves to the migration's and its changes of the
//     state are made. A replay makes a new instance here and runs the migration again.
//   - Projections: the agent is listed with what is new.
//   - Version 1: had no machine in its migration.
type AgentUpdated struct {
	// SHA-256 of the module until now, lower-case hex. Absent when the module stays.
	From ModuleHash `json:"from_sha256,omitempty"`
	// SHA-256 of the new module, lower-case hex. Absent when the module stays.
	Module ModuleHash `json:"module_sha256,omitempty"`
	// Of the new module as it was uploaded, in bytes, > 0. Absent when the module stays.
	ModuleSize int `json:"module_size,omitempty"`
	// What a deployer should know about the new module. Absent when there is nothing.
	Warnings []string `json:"warnings,omitempty"`
	// What one message may use from now on; all > 0. Absent when it stays.
	Limits *ResourceLimits `json:"resource_limits,omitempty"`
	// Of the agent among others. Absent when it stays.
	Priority Priority `json:"priority,omitempty"`
	// All labels from now on. Absent when they stay; an empty object when there are
	// none any more.
	Labels *Labels `json:"labels,omitempty"`
	// What caxton_migrate did. Absent when it did not run.
	Migration *Migration `json:"migration,omitempty"`
	// Why, in the words of who asked, at most 256 bytes. Absent when none was given.
	Reason string `json:"reason,omitempty"`
}

// Migration is one run of caxton_migrate that ended well: what it did, and what a
// replay needs to have it do the same again.
type Migration struct {
	// Clock and randomness that the guest was given.
	Host HostRecord `json:"host"`
	// Writes to the agent's durable state, in order. Absent when there are none.
	State []StateChange `json:"state,omitempty"`
	// What the guest logged. Absent when nothing.
	Logs []LogLine `json:"logs,omitempty"`
	// Metered instructions that the run took.
	Fuel Fuel `json:"fuel"`
	// Version of the meter's cost table, from 1.
	MeterVersion int `json:"meter"`
}

// MigrationError is an update that was refused because caxton_migrate did not end
// well. The agent is as it was. It is ErrMigrationFailed.
type MigrationError struct {
	Outcome OutcomeStatus
	Detail  string
}

// Error implements error.
func (e *MigrationError) Error() string {
	return "caxton_migrate failed: " + string(e.Outcome) + ": " + e.Detail
}

// Is makes errors.Is(err, ErrMigrationFailed) true.
func (e *MigrationError) Is(target error) bool { return target == ErrMigrationFailed }

// EventType implements Payload.
func (AgentUpdated) EventType() Type { return "AgentUpdated" }
