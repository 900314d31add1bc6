package http

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

// connSet owns the connections of one Serve. It exists beside the engine's own
// bookkeeping because that one leaves connections open when its patience ends,
// keeps a goroutine for seconds after its end, and answers too many connections
// in plain text.
type connSet struct {
	base  context.Context // of the requests on these connections
	slots chan struct{}   // one per open connection
	wg    sync.WaitGroup  // one per open connection

	mu       sync.Mutex // guards what follows
	conns    map[*conn]struct{}
	draining bool
}

func newConnSet(base context.Context, limit int) *connSet {
	return &connSet{base: base, slots: make(chan struct{}, limit), conns: make(map[*conn]struct{})}
}

// accept hands each connection to serve, in a goroutine of its own, until ctx
// ends or ln fails. It closes ln. Without a free slot it does not accept: peers
// wait in the kernel's backlog.
func (s *connSet) accept(ctx context.Context, ln net.Listener, serve func(*conn)) error {
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer func() {
		if stop() {
			_ = ln.Close()
		}
	}()
	for {
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		nc, err := ln.Accept()
		if err != nil {
			<-s.slots
			if ctx.Err() == nil && passes(err) && pause(ctx, acceptPause) {
				continue
			}
			return err
		}
		c := &conn{Conn: nc, set: s, idle: true}
		s.mu.Lock()
		s.conns[c] = struct{}{}
		s.wg.Add(1)
		s.mu.Unlock()
		go func() { // ends with its connection; drain waits for it
			defer s.forget(c)
			serve(c)
		}()
	}
}

// acceptPause lets other connections close when descriptors have run out.
const acceptPause = 50 * time.Millisecond

// passes reports whether an accept may succeed later: the peer is gone, or
// descriptors or memory are short for now.
func passes(err error) bool {
	return errors.Is(err, syscall.ECONNABORTED) || errors.Is(err, syscall.EMFILE) ||
		errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM)
}

// pause waits d and reports true, or false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *connSet) forget(c *conn) {
	_ = c.Close()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	<-s.slots
	s.wg.Done()
}

// drain closes idle connections at once, the others when their request is
// answered; after patience it ends the requests' contexts, and a second later
// the connections. It returns when the last goroutine is gone.
func (s *connSet) drain(patience time.Duration, cancel context.CancelFunc) {
	s.mu.Lock()
	s.draining = true
	for c := range s.conns {
		if c.idle {
			_ = c.Conn.Close()
		}
	}
	s.mu.Unlock()
	gone := make(chan struct{})
	go func() { // ends with the last connection, for which this function waits
		s.wg.Wait()
		close(gone)
	}()
	if within(gone, patience) {
		return
	}
	cancel()
	if within(gone, time.Second) {
		return
	}
	s.mu.Lock()
	for c := range s.conns {
		_ = c.Conn.Close()
	}
	s.mu.Unlock()
	<-gone
}

func within(done <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		return false
	}
}

func (s *connSet) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

// conn is one connection: idle → active with the first byte of a request →
// idle when it is answered.
type conn struct {
	net.Conn
	set    *connSet
	linger atomic.Bool // the peer may still be sending a body that nobody reads
	once   sync.Once

	begun    bool // a first request was awaited; as bodyRead, only its own goroutine uses it
	bodyRead bool // the body of the present request was read to its end

	idle bool // guarded by set.mu
}

// Read implements net.Conn. A first byte makes the connection active.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.setIdle(false)
	}
	return n, err
}

// Close implements net.Conn; only the first call does anything.
func (c *conn) Close() error {
	var err error
	c.once.Do(func() {
		if c.linger.Load() {
			c.discard()
		}
		err = c.Conn.Close()
	})
	return err
}

// discard reads on for a little after the last answer was written. A close with
// unread data resets the connection, and the peer could lose that answer.
func (c *conn) discard() {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || c.Conn.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(c.Conn, lingerBytes))
}

// setIdle notes the state; a connection that becomes idle while its set drains
// is at its end.
func (c *conn) setIdle(idle bool) {
	c.set.mu.Lock()
	defer c.set.mu.Unlock()
	c.idle = idle
	if idle && c.set.draining {
		_ = c.Conn.Close()
	}
}

// trackState is told by the engine where a connection stands.
func trackState(nc net.Conn, state fasthttp.ConnState) {
	c, ok := nc.(*conn)
	if !ok {
		return
	}
	switch state {
	case fasthttp.StateIdle:
		c.setIdle(true)
	case fasthttp.StateActive:
		// The engine calls a new connection active before a byte has come; a
		// later request may be active without a Read, when it was pipelined.
		if c.begun {
			c.setIdle(false)
		}
		c.begun = true
	}
}
