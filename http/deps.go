package http

import (
	"context"
	"iter"
	"log/slog"
	"time"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
	"github.com/caxton-run/caxton/replay"
)

// Commands changes agents. Every method may be called from any goroutine,
// returns after the change is durable (Stop may return before), and stops waiting when ctx ends. Errors
// are those of package events; problem.go says what becomes of each.
type Commands interface {
	Deploy(ctx context.Context, r actors.DeployRequest) (actors.Deployed, error)
	Send(ctx context.Context, r actors.SendRequest) (actors.Sent, error)
	Suspend(ctx context.Context, c actors.Command) (events.Position, error)
	Resume(ctx context.Context, c actors.Command) (events.Position, error)
	RetryLetter(ctx context.Context, c actors.Caller, id events.MessageID) (actors.Retried, error)
	Bulk(ctx context.Context, r actors.BulkRequest) (actors.BulkResult, error)
	Update(ctx context.Context, r actors.UpdateRequest) (events.Position, error)
	TryUpdate(ctx context.Context, r actors.UpdateRequest) (replay.Trial, error)
	Stop(ctx context.Context, r actors.StopRequest) (actors.Stopped, error)
	Restart(ctx context.Context, c actors.Command) (events.Position, error)
	Remove(ctx context.Context, c actors.Command) (events.Position, error)

	// Module returns a module's original bytes, or events.ErrModuleNotFound.
	Module(ctx context.Context, h events.ModuleHash) ([]byte, error)
}

// Agents answers reads from a projection. Every method may be called from any
// goroutine; none but WaitFor blocks.
type Agents interface {
	// List returns agents in order of creation, from cursor ("" is the first)
	// and at most limit of them; limit 0 means all. A cursor that no Page gave
	// is an *events.InvalidError for field "cursor".
	List(cursor string, limit int) (projections.Page, error)

	// Get returns one agent; ok is false when there is none (any more).
	Get(id events.AgentID) (view projections.AgentView, ok bool)

	// Resolve finds the agent that a UUID, a unique prefix of one (at least 4
	// characters) or a name means. Errors: events.ErrAgentNotFound,
	// *events.AmbiguousError.
	Resolve(ref string) (events.AgentID, error)

	// ResolveFor is Resolve for the receiver of a message of a conversation, which
	// may also be "capability:" and a name: of the agents that have it, the
	// conversation decides which. Errors: those of Resolve, and an
	// *events.InvalidError for a name that no capability can have.
	ResolveFor(ref, conversation string) (events.AgentID, error)

	// RemovedUntil is the newest recorded time of an event that events.retention has
	// removed of any agent; zero when it has removed none.
	RemovedUntil() time.Time

	// Position is the last position of the log that the answers reflect.
	Position() events.Position

	// WaitFor returns when Position has reached p, or with ctx's error.
	WaitFor(ctx context.Context, p events.Position) error
}

// History reads the log; a Store that indexes conversations is one.
type History interface {
	ReadStream(ctx context.Context, s events.Stream, o events.ReadStreamOptions) iter.Seq2[events.Recorded, error]
	ReadAll(ctx context.Context, o events.ReadAllOptions) iter.Seq2[events.Recorded, error]

	// StreamMetadata says what of a stream is hidden: see events.Store.
	StreamMetadata(ctx context.Context, s events.Stream) (md events.StreamMetadata, at events.Revision, ok bool, err error)

	// ReadCorrelation yields the events of one conversation in order, at most max
	// of them.
	ReadCorrelation(ctx context.Context, correlation string, max int) iter.Seq2[events.Recorded, error]
}

// Messages finds messages by their id. It may be called from any goroutine and does
// not block.
type Messages interface {
	// Find returns the position of the newest event about a message; ok is false
	// for one that is unknown or too old.
	Find(id events.MessageID) (at events.Position, ok bool)
}

// Sends knows what is on its way between agents. It may be called from any goroutine
// and does not block.
type Sends interface {
	// InFlight reports whether a send is neither handled nor given up.
	InFlight(m *events.Message) bool
}

// Letters lists messages that are set aside. It may be called from any goroutine and
// does not block.
type Letters interface {
	// List returns at most limit of them, the newest first, from cursor ("" is the
	// first) on. A cursor that no page gave is an *events.InvalidError for field
	// "cursor".
	List(cursor string, limit int) (projections.LetterPage, error)

	// Get returns the letter of a message; ok is false when there is none (any more).
	Get(id events.MessageID) (letter projections.Letter, ok bool)
}

// Observer is told of every request that was answered. It is called from many
// goroutines and must not block.
type Observer interface {
	Request(method string, status int, d time.Duration)
}

// Deps is what a Server works with. Commands, Agents, History, Messages, Sends, Inboxes,
// Letters, Operations, Emergency and Breakers are required.
type Deps struct {
	Commands   Commands
	Agents     Agents
	History    History
	Messages   Messages
	Sends      Sends
	Inboxes    Inboxes
	Letters    Letters
	Operations Operations
	Emergency  Emergency
	Breakers   Breakers

	// Started is closed when reads can be answered; until then every route but
	// those of the node's own state is refused with NOT_READY. nil is closed.
	Started <-chan struct{}

	// NotReady lists what keeps the node from serving, empty when nothing does;
	// nil means always ready. It must not block.
	NotReady func() []events.FieldError

	// Warnings lists what an operator should look after although the node
	// serves; nil means nothing ever. It must not block.
	Warnings func() []events.FieldError
	Observer Observer     // nil: nobody is told
	Log      *slog.Logger // nil: nothing is logged
}
