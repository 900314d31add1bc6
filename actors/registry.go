package actors

import (
	"errors"
	"maps"
	"sync"

	"github.com/caxton-run/caxton/events"
)

// registry knows the mailbox of every agent that is awake. An agent is awake
// exactly while its mailbox stands here: both change under one lock.
type registry struct {
	size    int
	spawn   func(events.AgentID, *Mailbox)
	recents *recents // nil: latencies of agents that hibernate are forgotten

	mu     sync.Mutex // guards below
	awake  map[events.AgentID]*Mailbox
	closed bool
}

func newRegistry(mailboxSize int, spawn func(events.AgentID, *Mailbox)) *registry {
	return &registry{size: mailboxSize, spawn: spawn, awake: make(map[events.AgentID]*Mailbox)}
}

// offer puts an envelope into the agent's mailbox, waking the agent if need be,
// and returns that mailbox. Errors: events.ErrMailboxFull, events.ErrAgentStopped,
// events.ErrShuttingDown.
func (r *registry) offer(id events.AgentID, e *envelope) (*Mailbox, error) {
	for {
		box, fresh, err := r.get(id)
		if err != nil {
			return nil, err
		}
		err = box.Offer(e)
		if fresh {
			r.spawn(id, box)
		}
		// A mailbox closed since get is no longer here: the next one is new.
		if !errors.Is(err, events.ErrClosed) {
			return box, err
		}
	}
}

// room refuses what offer would refuse of messages without a key. Errors:
// events.ErrMailboxFull, events.ErrAgentStopped.
func (r *registry) room(id events.AgentID) error {
	box := r.box(id)
	if box == nil {
		return nil
	}
	return box.room()
}

// leaving reports whether an agent is about to stop, though that is not durable yet: its
// mailbox takes no message from outside.
func (r *registry) leaving(id events.AgentID) bool {
	box := r.box(id)
	return box != nil && stops(box.comes())
}

// box is the agent's mailbox; nil while it is not awake.
func (r *registry) box(id events.AgentID) *Mailbox {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.awake[id]
}

func (r *registry) get(id events.AgentID) (box *Mailbox, fresh bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, false, events.ErrShuttingDown
	}
	box = r.awake[id]
	if box == nil {
		box, fresh = NewMailbox(r.size), true
		if r.recents != nil {
			box.latency = r.recents.take(id)
		}
		r.awake[id] = box
	}
	return box, fresh, nil
}

// isAwake reports whether box is still the agent's mailbox.
func (r *registry) isAwake(id events.AgentID, box *Mailbox) bool {
	return r.box(id) == box
}

// holds reports whether the agent is awake.
func (r *registry) holds(id events.AgentID) bool {
	return r.box(id) != nil
}

// isBusy reports whether anything waits in the agent's mailbox or is in a turn.
func (r *registry) isBusy(id events.AgentID) bool {
	box := r.box(id)
	if box == nil {
		return false
	}
	n, _ := box.Depth()
	return n > 0
}

// retire closes the mailbox and forgets it, if nothing waits in it.
func (r *registry) retire(id events.AgentID, box *Mailbox) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !box.CloseIfIdle() {
		return false
	}
	r.forget(id, box)
	return true
}

// drop closes the mailbox whatever it holds, and answers all of it with err.
func (r *registry) drop(id events.AgentID, box *Mailbox, err error) {
	r.mu.Lock()
	left := box.Close()
	r.forget(id, box)
	r.mu.Unlock()
	for _, e := range left {
		e.respond(answer{err: err})
	}
}

func (r *registry) forget(id events.AgentID, box *Mailbox) {
	if r.awake[id] == box {
		delete(r.awake, id)
		if r.recents != nil {
			r.recents.keep(id, box.latency)
		}
	}
}

// close refuses all further envelopes.
func (r *registry) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
}

// dropAll drops every mailbox that is left: an envelope that came between close
// and the end of the supervisor has no actor to answer it.
func (r *registry) dropAll(err error) {
	for id, box := range r.all() {
		r.drop(id, box, err)
	}
}

// all returns the agents awake, each with its mailbox.
func (r *registry) all() map[events.AgentID]*Mailbox {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.awake)
}

// boxes returns the mailboxes of all agents awake.
func (r *registry) boxes() []*Mailbox {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*Mailbox, 0, len(r.awake))
	for _, b := range r.awake {
		out = append(out, b)
	}
	return out
}
