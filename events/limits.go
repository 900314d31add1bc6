package events

import (
	"sort"
	"strings"
	"unicode/utf8"
)

// Fuel counts metered Wasm instructions. 0 means none, not unlimited.
type Fuel uint64

// Limits of what an outsider may name, send or ask for. Each is a ceiling that
// an agent, an operator or an attacker cannot pass.
const (
	MaxNameLength     = 64        // characters: what a table column and a log line can show
	MaxLabels         = 32        // per agent: an index entry each
	MaxLabelLength    = 63        // bytes of a key or value, as Kubernetes labels
	MaxMessageContent = 256 << 10 // bytes: a turn of several fits one append
	MaxContentDepth   = 9900      // arrays and objects within each other: JSON is read to 10,000, and events and answers put some around it
	MaxHops           = 1000      // ends an endless ping-pong
	MaxFieldLength    = 256       // bytes of a message's short fields (protocol, reply_with …)
	MaxKeyLength      = 255       // bytes of an Idempotency-Key
)

// ResourceLimits bounds one agent. All are > 0.
type ResourceLimits struct {
	MaxMemoryBytes     uint64 `json:"max_memory_bytes"`      // linear memory; memory.grow beyond it answers -1
	MaxFuel            Fuel   `json:"max_fuel"`              // per message
	MaxExecutionTimeMS uint64 `json:"max_execution_time_ms"` // per message, wall clock
}

// DefaultLimits are what an agent gets where its deployment names none.
func DefaultLimits() ResourceLimits {
	return ResourceLimits{MaxMemoryBytes: 64 << 20, MaxFuel: 100_000_000, MaxExecutionTimeMS: 5_000}
}

// LimitCeilings are the most that a deployment may ask for.
func LimitCeilings() ResourceLimits {
	return ResourceLimits{MaxMemoryBytes: 1 << 30, MaxFuel: 1_000_000_000_000, MaxExecutionTimeMS: 60_000}
}

// Validate checks each limit to be > 0 and ≤ its ceiling, and reports all
// faults as one *InvalidError with fields "resource_limits.…".
func (l ResourceLimits) Validate(ceiling ResourceLimits) error {
	var f Faults
	check := func(field string, v, limit uint64) {
		switch {
		case v == 0:
			f.Add("resource_limits."+field, "must be greater than 0")
		case v > limit:
			f.Add("resource_limits."+field, "must be at most %d", limit)
		}
	}
	check("max_memory_bytes", l.MaxMemoryBytes, ceiling.MaxMemoryBytes)
	check("max_fuel", uint64(l.MaxFuel), uint64(ceiling.MaxFuel))
	check("max_execution_time_ms", l.MaxExecutionTimeMS, ceiling.MaxExecutionTimeMS)
	return f.Err()
}

// CleanName trims white space and checks an agent's name: 1 to MaxNameLength
// characters, printable, not beginning with CapabilityPrefix, which as a receiver means
// others. Errors are *InvalidError for field "name".
func CleanName(raw string) (string, error) {
	name := strings.TrimSpace(raw)
	switch n := utf8.RuneCountInString(name); {
	case n == 0:
		return "", Invalid("name", "must not be empty")
	case n > MaxNameLength:
		return "", Invalidf("name", "must be at most %d characters after trimming, got %d", MaxNameLength, n)
	case !utf8.ValidString(name):
		return "", Invalid("name", "must be valid UTF-8")
	case strings.HasPrefix(name, CapabilityPrefix):
		return "", Invalidf("name", "must not begin with %q: no message would reach the agent by it, but one that has the capability", CapabilityPrefix)
	}
	for _, r := range name {
		if r < 0x20 || r == 0x7f || r == '/' {
			return "", Invalid("name", "must not contain control characters or '/'")
		}
	}
	return name, nil
}

// Labels are an agent's key=value pairs for filters.
type Labels map[string]string

// Validate checks number and lengths. Errors are *InvalidError for field
// "labels".
func (l Labels) Validate() error {
	if len(l) > MaxLabels {
		return Invalidf("labels", "must be at most %d, got %d", MaxLabels, len(l))
	}
	keys := make([]string, 0, len(l))
	for k := range l {
		keys = append(keys, k)
	}
	sort.Strings(keys) // the first fault named is always the same one
	for _, k := range keys {
		if k == "" || len(k) > MaxLabelLength || len(l[k]) > MaxLabelLength {
			return Invalidf("labels", "key %.64q: key and value must be 1 to %d and 0 to %d bytes", k, MaxLabelLength, MaxLabelLength)
		}
	}
	return nil
}
