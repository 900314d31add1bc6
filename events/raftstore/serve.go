package raftstore

import (
	"bufio"
	"encoding/binary"
	"sync"

	"github.com/hashicorp/raft"
)

// served is the leader's end of a session.
type served struct {
	s       *Store
	conn    *conn
	writing sync.Mutex
	tasks   sync.WaitGroup
	room    chan struct{} // of capacity maxInSession

	over bool // a newer session took its place; under Store.serving
}

// serveSession takes requests of a member until the connection ends. An older
// session of the same member is over from here on.
func (s *Store) serveSession(c *conn, h hello) {
	v := &served{s: s, conn: c, room: make(chan struct{}, maxInSession)}
	s.serving.Lock()
	if old := s.sessions[h.from]; old != nil {
		old.over = true
		old.conn.Close() //nolint:errcheck // nothing more is taken from it
	}
	s.sessions[h.from] = v
	s.serving.Unlock()

	r := bufio.NewReader(c)
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
	c.Close() //nolint:errcheck // what is not yet answered is not expected any more
	v.tasks.Wait()
	s.serving.Lock()
	if s.sessions[h.from] == v {
		delete(s.sessions, h.from)
	}
	s.serving.Unlock()
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
		future := v.s.raft.Apply(f.body, 0) // under the lock: none comes after over was set
		v.s.serving.Unlock()
		v.tasks.Go(func() { done(proposed(f.id, future)) })
	case askReadIndex:
		v.tasks.Go(func() {
			index, err := v.s.readIndex()
			reply := frame{f.id, replyIndex, binary.BigEndian.AppendUint64(nil, index)}
			if err != nil {
				reply = frame{f.id, replyVoid, nil}
			}
			done(reply)
		})
	default:
		v.s.release()
		return false
	}
	return true
}

// proposed waits for an entry's fate and puts it into a reply.
func proposed(id uint64, future raft.ApplyFuture) frame {
	t, what := fateOf(future)
	switch what {
	case fateVoid:
		return frame{id, replyVoid, nil}
	case fateUnknown:
		return frame{id, replyUnknown, nil}
	}
	body := binary.BigEndian.AppendUint64(nil, t.index)
	for _, o := range t.outcomes {
		body = appendOutcome(body, o)
	}
	return frame{id, replyTaken, body}
}

// reply writes one. A connection that fails fails the reader too.
func (v *served) reply(f frame) {
	v.writing.Lock()
	defer v.writing.Unlock()
	if err := writeFrame(v.conn, f); err != nil {
		v.conn.raw.Close() //nolint:errcheck // it failed already
	}
}
