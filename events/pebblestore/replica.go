package pebblestore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/caxton-run/caxton/events"
)

// ErrReplicated is a directory whose log is one of a replicated engine's, opened
// to be written alone: it would part from the others.
var ErrReplicated = errors.New("log belongs to a replicated engine")

// Outcome is what became of a proposal. Err is a refusal by the rules of
// events.Store, the same on every replica.
type Outcome struct {
	Result events.Result
	Err    error
}

// Proposer brings a proposal into the order that all replicas apply, and returns
// when this replica has applied it, or with an error that says that it did not,
// or that nobody knows.
type Proposer func(ctx context.Context, proposal []byte) Outcome

// Entry is one step of that order.
type Entry struct {
	Index     uint64   // grows; gaps are the order's own business
	Proposals [][]byte // made by the methods of Store, applied one after the other
}

// Replica is a Store whose changes come from outside, in an order that somebody
// else keeps and makes durable. Its own methods of events.Store turn changes into
// proposals and give them to a Proposer; Apply decides them.
//
// Deciding is part of applying: a proposal says what is wanted, not what becomes
// of the log, so any number of them may be under way, and one that is repeated is
// found by the ids of its events. Replicas that apply the same entries hold the
// same events with the same roots.
//
// What Apply wrote is not synced. Whoever keeps the order gives out again, after
// Open, what lies beyond Applied. Apply and Replace are for one goroutine.
type Replica struct {
	*Store
	state state
	at    applied
}

// applied is how far a replica came: the entry, and how many proposals of the one
// after it, for one entry may take more than one batch.
type applied struct {
	index uint64
	done  uint32
}

const (
	replicaVersion = 1
	replicaSize    = 1 + 8 + 4
)

func (a applied) encode() []byte {
	b := append(make([]byte, 0, replicaSize), replicaVersion)
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(b, a.index), a.done)
}

// loadReplica returns how far a replica came; ok is false for a log that was
// never one.
func loadReplica(db pebble.Reader) (a applied, ok bool, err error) {
	value, closer, err := db.Get([]byte{kindReplica})
	if errors.Is(err, pebble.ErrNotFound) {
		return applied{}, false, nil
	}
	const where = "applied index"
	if err != nil {
		return applied{}, false, translate(where, err)
	}
	if len(value) != replicaSize || value[0] != replicaVersion {
		err = &events.CorruptError{Where: where, Reason: "unknown version or length"}
	} else {
		a = applied{binary.BigEndian.Uint64(value[1:]), binary.BigEndian.Uint32(value[9:])}
	}
	return a, true, errors.Join(err, closer.Close())
}

// AppliedEntry returns how far this log came as that of a Replica: the last entry that
// was applied as a whole, and how many proposals of the next one. Zeros are a log that
// never was one. Errors: *events.CorruptError, events.ErrClosed.
func (s *Store) AppliedEntry() (index uint64, proposals uint32, err error) {
	if err := s.enter(); err != nil {
		return 0, 0, err
	}
	defer s.leave()
	a, _, err := loadReplica(s.db)
	return a.index, a.done, err
}

// OpenReplica opens the log in dir as Open does, to be changed by Apply alone.
func OpenReplica(dir string, opts Options, propose Proposer) (*Replica, error) {
	s, err := openWith(dir, opts, propose)
	if err != nil {
		return nil, err
	}
	r := &Replica{Store: s}
	if err := r.load(); err != nil {
		return nil, fmt.Errorf("open log in %s: %w", dir, errors.Join(err, s.Close()))
	}
	return r, nil
}

// load takes the state of the log from what is durable of it.
func (r *Replica) load() (err error) {
	end := r.Root()
	r.state = state{next: end.Next, root: end.Hash, heads: newHeads(r.db, r.opts.HeadCache)}
	r.at, _, err = loadReplica(r.db)
	return err
}

// Applied is the index of the last entry that was applied as a whole; 0 when none
// was.
func (r *Replica) Applied() uint64 { return r.at.index }

// PassOver notes that entries up to index change nothing in this log any more: whoever keeps
// the order knows it, as of a copy of a log that had applied them. It is for the goroutine
// of Apply.
func (r *Replica) PassOver(index uint64) {
	if index > r.at.index {
		r.at = applied{index: index}
	}
}

// Checkpoint is that of Store, of a log that says how far it came: an entry of which nothing
// was taken has written nothing, and the copy would be one to which it is yet to be applied.
// It is for the goroutine of Apply.
func (r *Replica) Checkpoint(dir string) (next events.Position, err error) {
	if err := r.noteApplied(); err != nil {
		return 0, fmt.Errorf("note the applied index: %w", err)
	}
	return r.Store.Checkpoint(dir)
}

func (r *Replica) noteApplied() error {
	if err := r.enter(); err != nil {
		return err
	}
	defer r.leave()
	at, _, err := loadReplica(r.db)
	if err != nil || at == r.at || r.ReadOnly() {
		return err
	}
	return r.db.Set([]byte{kindReplica}, r.at.encode(), pebble.NoSync)
}

// Apply decides and applies entries, and returns an outcome for each of their
// proposals. Entries that were applied before are passed over, without outcomes.
// Readers see what it wrote when it returns.
//
// An error means that this replica cannot go on: a proposal that does not read or
// is of an unknown version, a damaged log, a disk that fails; or that it was
// closed (events.ErrClosed). What it applied before the error stays.
func (r *Replica) Apply(entries []Entry) ([][]Outcome, error) {
	if err := r.enter(); err != nil {
		return nil, err
	}
	defer r.leave()
	out := make([][]Outcome, len(entries))
	g := &group{}
	for i := range entries {
		e := &entries[i]
		if e.Index <= r.at.index {
			continue
		}
		outcomes, err := r.applyEntry(&g, e)
		if err != nil {
			return out, fmt.Errorf("apply entry %d: %w", e.Index, err)
		}
		out[i], r.at = outcomes, applied{index: e.Index}
		if g.cost >= maxGroupBytes {
			if err := r.flush(&g); err != nil {
				return out, err
			}
		}
	}
	return out, r.flush(&g)
}

// applyEntry applies the proposals of one entry that are not yet applied. In
// between it may flush g and put a new group in its place.
func (r *Replica) applyEntry(g **group, e *Entry) ([]Outcome, error) {
	outcomes := make([]Outcome, len(e.Proposals))
	for i := int(r.at.done); i < len(e.Proposals); i++ {
		req, now, err := decodeProposal(e.Proposals[i])
		if err != nil {
			return nil, err
		}
		// What looks into the database must find there what the group holds.
		if req.op != opAppend || (*g).repeats(req) {
			if err := r.flush(g); err != nil {
				return nil, err
			}
		}
		if outcomes[i], err = r.settle(*g, req, now); err != nil {
			return nil, err
		}
		r.at.done = uint32(i) + 1
	}
	return outcomes, nil
}

// settle decides one proposal and puts what it writes into g.
func (r *Replica) settle(g *group, req *request, now time.Time) (Outcome, error) {
	d, err := r.decide(req, now)
	if err == nil && d.write {
		err = r.write(g, req, d)
	}
	if err != nil && !refusal(err) {
		return Outcome{}, err
	}
	return Outcome{d.result, err}, nil
}

// decide is that of state, and knows a change of metadata, a deletion or a
// tombstone that is proposed again by the id of its event.
func (r *Replica) decide(req *request, now time.Time) (decision, error) {
	stream := req.stream
	switch req.op {
	case opMetadata, opDelete:
		stream = events.MetadataStream(stream)
	case opTombstone:
	default:
		return r.state.decide(r.db, req, now, false)
	}
	k, err := knownIDs(r.db, &request{stream: stream, events: []events.Event{{ID: req.id}}})
	if err != nil || k.count == 0 {
		if err != nil {
			return decision{}, err
		}
		return r.state.decide(r.db, req, now, false)
	}
	pos, err := streamPosition(r.db, stream, k.first)
	return decision{result: events.Result{First: k.first, Last: k.first, Position: pos, Duplicate: true}}, err
}

func (r *Replica) write(g *group, req *request, d decision) error {
	g.begin(r.db)
	return r.state.write(g, req, d)
}

// refusal tells the refusals of events.Store, which every replica comes to, from
// what stops this one.
func refusal(err error) bool {
	var wrong *events.WrongRevisionError
	var invalid *events.InvalidError
	return errors.As(err, &wrong) || errors.As(err, &invalid) ||
		errors.Is(err, events.ErrIDReused) || errors.Is(err, events.ErrStreamDeleted) ||
		errors.Is(err, events.ErrStreamNotFound) || errors.Is(err, errStale)
}

// flush writes what g holds, with how far it came, and begins a new group.
func (r *Replica) flush(g **group) error {
	full := *g
	if full.lanes == nil {
		r.state.heads.age()
		return nil
	}
	*g = &group{}
	mustSet(full.lanes, appliedKey(), encodeApplied(r.state.next, r.state.root))
	mustSet(full.lanes, []byte{kindReplica}, r.at.encode())
	full.close()
	if r.ReadOnly() {
		return errors.Join(events.ErrReadOnly, full.batch.Close())
	}
	if err := r.db.Apply(full.batch, pebble.NoSync); err != nil {
		r.isolate(fmt.Sprintf("write to the log: %v", err))
		return fmt.Errorf("write to the log: %w", err)
	}
	r.state.heads.age()
	r.disk.wrote(full.bytes)
	if !r.advance(Root{Next: r.state.next, Hash: r.state.root}) {
		return errors.Join(events.ErrReadOnly, full.batch.Close())
	}
	r.counters.count(full)
	r.hub.publish(full.streams)
	return full.batch.Close()
}

// proposeRequest is submit's way where a Proposer is set.
func (s *Store) proposeRequest(ctx context.Context, r *request) answer {
	proposal, err := encodeProposal(r, s.opts.Now())
	if err != nil {
		return answer{err: err}
	}
	if r.op != opAppend { // those are many, and were looked at in each part
		if err := CheckProposal(proposal); err != nil { // it would stop every replica
			return answer{err: fmt.Errorf("change %s: %w", r.stream, err)}
		}
	}
	out := s.propose(ctx, proposal)
	if out.Err != nil && !refusal(out.Err) {
		out.Err = fmt.Errorf("append to %s: %w", r.stream, out.Err)
	}
	return answer{out.Result, out.Err}
}
