package agent

import (
	"fmt"

	"github.com/caxton-run/caxton/events"
)

// Bounds of what a guest keeps with state_put.
const (
	// MaxStateBytes of keys and values. They stand in the node's memory as long as
	// the agent is awake, beside the linear memory that max_memory_bytes bounds, and
	// in every snapshot, which a wake reads whole.
	MaxStateBytes = 16 << 20

	// stateEntryBytes is what an entry counts beside its key and value: what a map
	// and two headers take, so that a million empty values are not free.
	stateEntryBytes = 64
)

// values is the guest's durable state.
//
// Invariant: bytes = Σ (len(key) + len(value) + stateEntryBytes).
type values struct {
	all   map[string][]byte
	bytes int
}

func (v *values) change(c events.StateChange) {
	if old, ok := v.all[c.Key]; ok {
		v.bytes -= entryBytes(c.Key, old)
	}
	if c.Delete {
		delete(v.all, c.Key)
		return
	}
	if v.all == nil {
		v.all = make(map[string][]byte)
	}
	if len(c.Value) == 0 {
		c.Value = []byte{} // an event does not tell nil from empty; neither may the state
	}
	v.all[c.Key] = c.Value
	v.bytes += entryBytes(c.Key, c.Value)
}

func entryBytes(key string, value []byte) int { return len(key) + len(value) + stateEntryBytes }

// overflow says why changes cannot be kept, or "". One that makes the state
// smaller always can: a log may have more in it, from before there was a bound. A
// key stands in changes once, as the host sees to; otherwise the count is too high,
// never too low.
func (v *values) overflow(changes []events.StateChange) string {
	after := v.bytes
	for _, c := range changes {
		if old, ok := v.all[c.Key]; ok {
			after -= entryBytes(c.Key, old)
		}
		if !c.Delete {
			after += entryBytes(c.Key, c.Value)
		}
	}
	if after <= MaxStateBytes || after <= v.bytes {
		return ""
	}
	return fmt.Sprintf("the state would be %d bytes with %d for each key, at most %d are kept", after, stateEntryBytes, MaxStateBytes)
}
