package raftstore

import (
	"bufio"
	"encoding/binary"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// served is the leader's end of a session.
type served struct {
	s       *Store
	conn    *conn
	writing lock
	tasks   sync.WaitGroup
	room    chan struct{} // of capacity maxInSession
	member  ServerID
	news    chan commit // of capacity 1: the last one that the member should hear of at once

	over bool // a newer session took its place; under Store.serving
}

// commit is an entry that a quorum has, in the leader's term.
type commit struct{ index, term uint64 }

// beginSession makes a session with a member. An older one of the same member is over from
// here on.
func (s *Store) beginSession(c *conn, h hello) *served {
	v := &served{s: s, conn: c, room: make(chan struct{}, maxInSession), member: h.from, news: make(chan commit, 1)}
	s.serving.Lock()
	defer s.serving.Unlock()
	if old := s.sessions[h.from]; old != nil {
		old.over = true
		old.conn.Close() //nolint:errcheck // nothing more is taken from it
	}
	s.sessions[h.from] = v
	return v
}

// run takes requests of the member until the connection ends.
func (v *served) run() {
	over := make(chan struct{})
	v.tasks.Go(func() { v.announce(over) })
	r := bufio.NewReader(v.conn)
	for {
		f, err := readFrame(r)
		if err != nil {
			break
		}
		v.room <- struct{}{} // given back by requests, which end when the store closes
		if !v.take(f) {
			break
		}
	}
	v.conn.Close() //nolint:errcheck // what is not yet answered is not expected any more
	close(over)
	v.tasks.Wait()
}

// end forgets the session, whether it was run or not.
func (v *served) end() {
	v.conn.Close() //nolint:errcheck // it has ended
	v.s.serving.Lock()
	defer v.s.serving.Unlock()
	if v.s.sessions[v.member] == v {
		delete(v.s.sessions, v.member)
	}
}

// take begins to work on a request; false ends the session.
func (v *served) take(f frame) bool {
	if !v.s.useRaft() {
		return false
	}
	done := func(reply frame) {
		v.s.release()
		v.reply(reply)
		<-v.room
	}
	switch f.kind {
	case askPropose:
		if err := checkForwarded(f.body); err != nil {
			v.s.log.Warn("member sends what does not read", "from", v.conn.RemoteAddr().String(), "err", err)
			v.s.release()
			return false
		}
		v.s.serving.Lock()
		if v.over {
			v.s.serving.Unlock()
			v.s.release()
			return false
		}
		future := v.s.raft.Apply(f.body, v.s.patience()) // under the lock: none comes after over was set
		v.s.serving.Unlock()
		v.tasks.Go(func() {
			reply, taken := proposed(f.id, future)
			done(reply)
			if taken != 0 {
				v.tell(commit{taken, binary.BigEndian.Uint64(f.body[1:])})
			}
		})
	case askReadIndex:
		v.tasks.Go(func() {
			index, err := v.s.readIndex()
			reply := frame{f.id, replyIndex, binary.BigEndian.AppendUint64(nil, index)}
			if err != nil {
				reply = frame{f.id, replyVoid, nil}
			}
			term := v.s.termOf(index)
			done(reply)
			if err == nil && term != 0 && term == v.s.raft.CurrentTerm() {
				v.tell(commit{index, term})
			}
		})
	default:
		v.s.release()
		return false
	}
	return true
}

// tell has a commit announced, unless a later one is.
func (v *served) tell(c commit) {
	for {
		select {
		case v.news <- c:
			return
		case earlier := <-v.news:
			if earlier.index > c.index {
				c = earlier
			}
		}
	}
}

// announce sends the member the commits that it waits for, as raft will some
// milliseconds later when nothing else follows: an append by a follower, or a read
// after Sync, would wait that long.
func (v *served) announce(over <-chan struct{}) {
	for {
		select {
		case <-over:
			return
		case c := <-v.news:
			for _, m := range v.s.Members() {
				if m.ID == v.member {
					v.s.announce(m, c)
				}
			}
		}
	}
}

// announce tells of a commit. All in the request is true of its term, whoever leads when
// it arrives; one that is lost is made good by raft's next.
func (s *Store) announce(m Member, c commit) {
	_, err := s.sendAsLeader(m, raft.AppendEntriesRequest{
		Term: c.term, PrevLogEntry: c.index, PrevLogTerm: c.term, LeaderCommitIndex: c.index,
	})
	if err != nil {
		s.log.Debug("commit not announced", "member", m.ID.String(), "err", err)
	}
}

// proposed waits for an entry's fate and puts it into a reply. taken is its index if
// it was.
func proposed(id uint64, future raft.ApplyFuture) (reply frame, taken uint64) {
	t, what := fateOf(future)
	switch what {
	case fateVoid:
		return frame{id, replyVoid, nil}, 0
	case fateUnknown:
		return frame{id, replyUnknown, nil}, 0
	}
	body := binary.BigEndian.AppendUint64(nil, t.index)
	for _, o := range t.outcomes {
		body = appendOutcome(body, o)
	}
	return frame{id, replyTaken, body}, t.index
}

// reply writes one. A connection that fails fails the reader too.
func (v *served) reply(f frame) {
	v.writing.Lock()
	defer v.writing.Unlock()
	err := v.conn.SetWriteDeadline(time.Now().Add(v.s.patience()))
	if err == nil {
		err = writeFrame(v.conn, f)
	}
	if err != nil {
		v.conn.raw.Close() //nolint:errcheck // it failed already
	}
}
