package raftstore

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"time"
)

// lane is one direction of a connection in memory: what is written arrives a drawn
// while later, in order. Writers wait while laneRoom bytes are under way, so a reader
// that stands still is felt, and finds them when it goes on. All waits are on channels:
// simulated time passes over them.
type lane struct {
	mu      sync.Mutex // guards what follows
	rng     *rand.Rand
	under   []parcel
	size    int
	ended   bool // by the writer: the reader comes to an end behind what is under way
	left    bool // by the reader
	changed bell
	last    time.Time // when the last parcel arrives
	readBy  time.Time // deadlines; zero for none
	writeBy time.Time
}

// parcel is what one Write sent.
type parcel struct {
	at time.Time
	b  []byte
}

const (
	laneRoom = 256 << 10              // bytes, as a socket of the loopback has
	laneMost = 500 * time.Microsecond // that a parcel is under way
)

// wait ends when the lane changes, at a moment, or when by has passed (false). The
// caller holds mu, and holds it again afterwards.
func (l *lane) wait(at, by time.Time) bool {
	first := at
	if !by.IsZero() && (first.IsZero() || by.Before(first)) {
		first = by
	}
	var clock <-chan time.Time
	if !first.IsZero() {
		timer := time.NewTimer(time.Until(first))
		defer timer.Stop()
		clock = timer.C
	}
	changed := l.changed.hear()
	l.mu.Unlock()
	select {
	case <-changed:
	case <-clock:
	}
	l.mu.Lock()
	return by.IsZero() || time.Now().Before(by)
}

func (l *lane) read(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		var at time.Time
		switch {
		case l.left:
			return 0, net.ErrClosed
		case !l.readBy.IsZero() && !time.Now().Before(l.readBy):
			return 0, os.ErrDeadlineExceeded
		case len(l.under) > 0:
			p := &l.under[0]
			if at = p.at; !time.Now().Before(at) {
				n := copy(b, p.b)
				if p.b = p.b[n:]; len(p.b) == 0 {
					l.under = l.under[1:]
				}
				l.size -= n
				l.changed.ring()
				return n, nil
			}
		case l.ended:
			return 0, io.EOF
		}
		l.wait(at, l.readBy)
	}
}

func (l *lane) write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch {
		case l.ended:
			return 0, net.ErrClosed
		case l.left:
			return 0, errors.New("the other end is gone")
		case !l.writeBy.IsZero() && !time.Now().Before(l.writeBy):
			return 0, os.ErrDeadlineExceeded
		case l.size == 0 || l.size+len(b) <= laneRoom:
			at := time.Now().Add(time.Duration(l.rng.Int64N(int64(laneMost))))
			if at.Before(l.last) {
				at = l.last
			}
			l.last, l.size = at, l.size+len(b)
			l.under = append(l.under, parcel{at, append([]byte{}, b...)})
			l.changed.ring()
			return len(b), nil
		}
		l.wait(time.Time{}, l.writeBy)
	}
}

func (l *lane) change(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	l.changed.ring()
}

// laneConn is one end of a connection of two lanes.
type laneConn struct {
	in, out     *lane
	local, peer gateAddr
}

var _ net.Conn = (*laneConn)(nil)

// newLanes makes a connection, dialled by the first end.
func newLanes(dialler, accepter string, rng *rand.Rand) (ours, theirs *laneConn) {
	draw := func() *lane { return &lane{rng: rand.New(rand.NewPCG(rng.Uint64(), 0))} }
	there, back := draw(), draw()
	return &laneConn{back, there, gateAddr(dialler), gateAddr(accepter)}, &laneConn{there, back, gateAddr(accepter), gateAddr(dialler)}
}

// Read implements net.Conn.
func (c *laneConn) Read(b []byte) (int, error) { return c.in.read(b) }

// Write implements net.Conn.
func (c *laneConn) Write(b []byte) (int, error) { return c.out.write(b) }

// Close implements net.Conn.
func (c *laneConn) Close() error {
	c.in.change(func() { c.in.left = true })
	c.out.change(func() { c.out.ended = true })
	return nil
}

// LocalAddr implements net.Conn.
func (c *laneConn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *laneConn) RemoteAddr() net.Addr { return c.peer }

// SetDeadline implements net.Conn.
func (c *laneConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (c *laneConn) SetReadDeadline(t time.Time) error {
	c.in.change(func() { c.in.readBy = t })
	return nil
}

// SetWriteDeadline implements net.Conn.
func (c *laneConn) SetWriteDeadline(t time.Time) error {
	c.out.change(func() { c.out.writeBy = t })
	return nil
}

// laneListener takes connections that newLanes made.
type laneListener struct {
	calls chan net.Conn
	over  chan struct{} // closed by Close
	once  sync.Once
	at    gateAddr
}

// Accept implements net.Listener.
func (l *laneListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.calls:
		return c, nil
	case <-l.over:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *laneListener) Close() error {
	l.once.Do(func() { close(l.over) })
	return nil
}

// Addr implements net.Listener.
func (l *laneListener) Addr() net.Addr { return l.at }

// busy reports whether something is under way.
func (l *lane) busy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.under) > 0
}
