package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
	"github.com/caxton-run/caxton/replay"
	"github.com/caxton-run/caxton/wasmhost"
)

// Deps are the parts a System works with. It closes none of them.
type Deps struct {
	Store    events.Store
	Host     *wasmhost.Host
	Agents   *projections.Agents
	InFlight *projections.InFlight
	Inboxes  *projections.Inboxes
	Timers   *projections.Timers
	Talks    *projections.Conversations
	Letters  *projections.Letters
	Storms   *projections.Storms
	Requests *projections.Requests
	Messages *projections.Messages // nil: an agent that drains says itself which keys it knows, when its guest lets it
	Runner   *projections.Runner
	Running  *RunLog  // nil: an unclean end accuses nobody
	Room     Room     // nil: there always is
	Observer Observer // nil: Unobserved

	StormListener StormListener // nil: storms open breakers, and nobody else is told

	Log    *slog.Logger
	Member events.MemberID
	Now    func() time.Time // nil: time.Now
}

// afterLetter is how long the engine counts its own dead letters, messages to actors
// that have ended, before it would log them. A goroutine of its own waits for that, also
// when the system ends, so it is short.
const afterLetter = time.Millisecond

// System is the live half of a node: its agents' actors, their supervisor and
// the dispatcher.
type System struct {
	cfg         Config
	deps        Deps
	log         *slog.Logger
	source      replay.Source
	registry    *registry
	engine      *actor.ActorSystem
	supervisor  *actor.PID
	dispatcher  *dispatcher
	waker       *waker
	timekeeper  *timekeeper
	deploys     deploys
	places      places
	recents     recents
	saves       saves
	suspects    oneAtATime // wake of an agent whose wake has a strike
	unwoken     unwoken
	licence     atomic.Pointer[licence]
	emergency   emergency
	breakers    *breakers
	unconfirmed unconfirmed

	mostInFlight int           // maxInFlight, but in tests
	runGrace     time.Duration // runGrace, but in tests

	spilled    atomic.Uint64            // messages put into inboxes because no guest may run
	ending     atomic.Bool              // the supervisor takes no messages about breakers any more
	draining   atomic.Pointer[drainage] // nothing from outside is admitted; nil: it is
	discarding atomic.Bool              // what comes up meets its end unread
	discarded  atomic.Uint64            // messages that did
	life       context.Context          // of appends that no caller owns; ends after the last turn
	end        context.CancelFunc
}

// New returns a system that accepts requests at once; Run must be called for
// agents' own sends to go out, and for an orderly end.
// It reads how breakers stand and whether an emergency stop is in force. Errors: *events.InvalidError from
// Config.Validate, those of the store.
func New(cfg Config, deps Deps) (*System, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("actors: %w", err)
	}
	if deps.Observer == nil {
		deps.Observer = Unobserved{}
	}
	if deps.Room == nil {
		deps.Room = endless{}
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	s := &System{cfg: cfg, deps: deps, log: deps.Log, saves: newSaves(saveBytes), mostInFlight: maxInFlight, runGrace: runGrace, suspects: newOneAtATime()}
	s.life, s.end = context.WithCancel(context.Background())
	s.licence.Store(newLicence(s.life))
	s.emergency.one, s.emergency.dumping = newOneAtATime(), newOneAtATime()
	s.deploys.unique = newOneAtATime()
	s.breakers = newBreakers(s)
	open, err := s.restoreBreakers(s.life)
	if err = errors.Join(err, s.restoreStop(s.life)); err != nil {
		s.end()
		return nil, err
	}
	s.breakers.publish(open)
	s.source = replay.Source{Store: deps.Store, Host: deps.Host, Modules: modules{deps.Store, deps.Host}, MaxRerun: maxRerun, Room: replay.NewRoom(wakeBytes)}
	s.engine = actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
		return slog.New(slog.DiscardHandler) // what matters is logged where it happens
	}), actor.WithDeadLetterThrottleInterval(afterLetter))
	s.supervisor = s.engine.NewLocalPID(supervisorName)
	s.registry = newRegistry(cfg.MailboxSize, func(id events.AgentID, box *Mailbox) {
		s.engine.Root.Send(s.supervisor, spawnAgent{id, box})
	})
	s.registry.recents = &s.recents
	deps.Agents.Avoid(s.registry.leaving)
	s.dispatcher, s.waker = newDispatcher(s), newWaker(s)
	s.timekeeper = newTimekeeper(s)
	if err := s.supervise(open); err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

// supervisorName is the supervisor's among the actors of a system: what its children do
// at once, like moving a breaker that is due, goes by s.supervisor, and they are there
// before spawning it returns.
const supervisorName = "agents"

// supervise starts the supervisor, last: its children use all that the system has.
func (s *System) supervise(open map[events.BreakerScope]breaker) error {
	_, err := s.engine.Root.SpawnNamed(actor.PropsFromProducer(
		func() actor.Actor { return &supervisor{sys: s, open: open} },
		actor.WithSupervisor(restarts{sys: s}),
	), supervisorName)
	if err != nil {
		return fmt.Errorf("actors: start the supervisor: %w", err)
	}
	return nil
}

// Gateway returns the way in.
func (s *System) Gateway() *Gateway { return &Gateway{sys: s} }

// Run carries agents' sends and timers until ctx ends, then shuts the system down: nothing
// new is taken, what waits is worked off for up to Config.DrainTimeout, and what
// is left is answered with events.ErrShuttingDown. It returns when the last
// goroutine is gone.
func (s *System) Run(ctx context.Context) error {
	var group sync.WaitGroup
	group.Go(func() { s.waker.run(ctx) })
	group.Go(func() { s.timekeeper.run(ctx) })
	group.Go(func() { s.watchStorms(ctx) })
	group.Go(func() { s.breakers.awaitAgents(ctx) })
	s.dispatcher.run(ctx)
	group.Wait()
	s.registry.close()
	if !s.drain() {
		s.end() // stops the guests that still run; what they did is not in the log
	}
	s.ending.Store(true)
	err := s.stopAgents()
	s.registry.dropAll(events.ErrShuttingDown)
	s.end()
	s.engine.Shutdown()
	if err != nil {
		return fmt.Errorf("stop agents: %w", err)
	}
	return nil
}

// stopTries bounds how often stopAgents waits; a wait is 10 s.
const stopTries = 6

// stopAgents returns when the last actor is gone. One may be waking its agent,
// which takes as long as the module's compilation.
func (s *System) stopAgents() (err error) {
	for range stopTries {
		if err = s.engine.Root.StopFuture(s.supervisor).Wait(); !errors.Is(err, actor.ErrTimeout) {
			return err
		}
		s.end()
	}
	return err
}

// drainPoll is how often drain looks whether mailboxes have run empty.
const drainPoll = 5 * time.Millisecond

// drain waits until nothing waits, and reports whether that was in time.
func (s *System) drain() bool {
	deadline := time.Now().Add(s.cfg.DrainTimeout)
	for {
		waiting := 0
		for _, b := range s.registry.boxes() {
			n, _ := b.Depth()
			waiting += n
		}
		if waiting == 0 {
			return true
		}
		if time.Now().After(deadline) {
			s.log.Warn("drain timed out; messages not yet acknowledged are refused", "waiting", waiting)
			return false
		}
		time.Sleep(drainPoll)
	}
}

// Awake is the number of agents that are not hibernating.
func (s *System) Awake() int { return len(s.registry.boxes()) }

// QueueDepth is the number of messages waiting in all mailboxes.
func (s *System) QueueDepth() int {
	total := 0
	for _, b := range s.registry.boxes() {
		n, _ := b.Depth()
		total += n
	}
	return total
}
