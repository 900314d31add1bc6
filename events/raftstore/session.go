package raftstore

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/raft"
)

// A session carries what one member wants of the leader over one connection: many
// requests at a time, answered in any order. A member has one session at a time;
// when it opens another, the leader takes nothing more from the one before, so a
// request that was delayed on a connection given up never comes after its own
// repetition.
//
// A frame is its length (4), an id (8), a kind (1) and a body; numbers are
// big-endian.
const (
	frameHeader  = 13
	maxFrame     = 8 << 20 // bytes: an entry of the largest append, with its parts' lengths
	maxInSession = 32      // requests that the leader works on; the member sends fewer
)

// Kinds of frame.
const (
	askPropose   = 1 // body: an entry
	askReadIndex = 2 // no body

	replyTaken   = 1 // body: index (8), outcomes
	replyVoid    = 2 // certainly not taken: not the leader, or in another term
	replyUnknown = 3 // nobody knows
	replyIndex   = 4 // body: index (8)
)

type frame struct {
	id   uint64
	kind byte
	body []byte
}

func writeFrame(w io.Writer, f frame) error {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, frameHeader+len(f.body)), uint32(len(f.body)))
	b = append(binary.BigEndian.AppendUint64(b, f.id), f.kind)
	_, err := w.Write(append(b, f.body...))
	return err
}

func readFrame(r io.Reader) (f frame, err error) {
	var head [frameHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return f, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxFrame {
		return f, fmt.Errorf("frame of %d bytes, at most %d", n, maxFrame)
	}
	f.id, f.kind = binary.BigEndian.Uint64(head[4:]), head[12]
	f.body = make([]byte, n)
	_, err = io.ReadFull(r, f.body)
	return f, err
}

// errSession is a session that ended with requests under way.
var errSession = errors.New("session with the leader ended")

// session is the end of the member that asks. Its goroutine reads replies until
// the connection ends.
type session struct {
	leader raft.ServerID
	within time.Duration // in which a request must be on its way
	term   uint64        // of the leader, when it began
	conn   *conn

	mu    lock   // guards what follows, and writing
	last  uint64 // id given
	wait  map[uint64]chan frame
	ended bool
}

// run reads replies.
func (s *session) run() {
	r := bufio.NewReader(s.conn)
	for {
		f, err := readFrame(r)
		if err != nil {
			s.end()
			return
		}
		s.mu.Lock()
		reply := s.wait[f.id]
		delete(s.wait, f.id)
		s.mu.Unlock()
		if reply != nil {
			reply <- f
		}
	}
}

// end fails all requests under way. A second call does nothing.
func (s *session) end() {
	s.conn.raw.Close() //nolint:errcheck // first: whoever writes has the lock
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.ended = true
	s.conn.Close() //nolint:errcheck // nothing is expected of it any more
	for _, reply := range s.wait {
		close(reply)
	}
	s.wait = nil
}

// ask sends a request and waits for its reply, or until another leader is known.
// After an error nobody knows whether it was heard.
func (s *session) ask(ctx context.Context, moved <-chan struct{}, kind byte, body []byte) (frame, error) {
	reply := make(chan frame, 1)
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return frame{}, errSession
	}
	s.last++
	s.wait[s.last] = reply
	err := s.conn.SetWriteDeadline(time.Now().Add(s.within)) // the leader may be stopped: all wait for the lock
	if err == nil {
		err = writeFrame(s.conn, frame{s.last, kind, body})
	}
	s.mu.Unlock()
	if err != nil {
		s.end()
		return frame{}, errSession
	}
	select {
	case f, ok := <-reply:
		if !ok {
			return frame{}, errSession
		}
		return f, nil
	case <-moved:
		return frame{}, errSession
	case <-ctx.Done():
		return frame{}, ctx.Err()
	}
}

// sessionWith returns the session with the leader, and opens one if the one there
// is ended or is with another.
func (s *Store) sessionWith(ctx context.Context, at raft.ServerAddress, leader raft.ServerID) (*session, error) {
	s.talking.Lock()
	defer s.talking.Unlock()
	if old := s.session; old != nil {
		old.mu.Lock()
		usable := !old.ended && old.leader == leader
		old.mu.Unlock()
		if usable {
			return old, nil
		}
		old.end()
		s.session = nil
	}
	address, id, err := splitAddress(at)
	if err != nil {
		return nil, err
	}
	// Others wait for this: no longer than it takes to hear of another leader.
	ctx, cancel := context.WithTimeout(ctx, 2*s.opts.Heartbeat)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	c, a, err := s.gate.dial(ctx, address, id, forSession)
	if err != nil {
		return nil, err
	}
	ss := &session{leader: leader, within: s.patience(), term: a.term, conn: c, wait: make(map[uint64]chan frame)}
	s.session = ss
	s.tasks.Go(ss.run)
	return ss, nil
}

// endSession gives up the session, so that the next request opens another.
func (s *Store) endSession() {
	s.talking.Lock()
	defer s.talking.Unlock()
	if s.session != nil {
		s.session.end()
	}
}
