package wasmhost

import (
	"context"
	"fmt"

	"github.com/caxton-run/caxton/events"
)

// Change is what caxton_migrate is told: which module the agent had, and which it
// has now.
type Change struct{ From, To events.ModuleHash }

// encode returns the JSON that the guest gets. Both are lower-case hex.
func (c Change) encode() []byte {
	return fmt.Appendf(nil, `{"from_sha256":%q,"to_sha256":%q}`, c.From, c.To)
}

// Migrate runs caxton_migrate on a new instance, before its first message: the
// guest may read and change the agent's durable state and log. c has no message.
// Outcomes are as of Handle; NoHandler says that the module has no caxton_migrate.
// After any but OK and NoHandler the instance is not usable.
func (in *Instance) Migrate(ctx context.Context, c Call, change Change) (out Outcome) {
	if !in.mod.info.Migrates {
		return Outcome{Status: events.OutcomeNoHandler, Detail: "the module does not export " + exportMigrate}
	}
	in.serve(ctx, &c, &change, &out)
	return out
}

// SetMaxMemory changes the limit of the guest's memory from now on: the next growth
// beyond it is denied. Memory that it has already stays.
func (in *Instance) SetMaxMemory(bytes uint64) { in.linear.limit = in.mod.memoryLimit(bytes) }
