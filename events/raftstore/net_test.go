package raftstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// testNet connects members in one process and loses what it is told to lose.
type testNet struct {
	mu        sync.Mutex // guards what follows
	listeners map[string]*testListener
	cut       map[link]bool
	frozen    map[string]chan struct{} // members that stand still; closed when they go on
	conns     map[*testConn]struct{}
	rng       *rand.Rand // draws the delays of connections in memory; nil for sockets
	dialled   int
}

// link is one direction between two members.
type link struct{ from, to string }

func newTestNet() *testNet {
	return &testNet{listeners: make(map[string]*testListener), cut: make(map[link]bool), frozen: make(map[string]chan struct{}), conns: make(map[*testConn]struct{})}
}

// at is the net as one member sees it.
func (n *testNet) at(address string) Network { return &testPlace{n, address} }

type testPlace struct {
	net     *testNet
	address string
}

// Listen implements Network. What is listened on is a socket of the loopback, so
// that buffers and deadlines are real ones, or memory in simulated time.
func (p *testPlace) Listen(address string) (net.Listener, error) {
	l := &testListener{net: p.net, address: address}
	if p.net.rng != nil {
		l.Listener = &laneListener{calls: make(chan net.Conn, 16), over: make(chan struct{}), at: gateAddr(address)}
	} else {
		real, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		l.Listener = real
	}
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	p.net.listeners[address] = l
	return l, nil
}

// Dial implements Network.
func (p *testPlace) Dial(ctx context.Context, address string) (net.Conn, error) {
	p.net.pass(p.address)
	p.net.mu.Lock()
	l := p.net.listeners[address]
	lost := p.net.cut[link{p.address, address}] || p.net.cut[link{address, p.address}]
	p.net.mu.Unlock()
	if l == nil {
		return nil, fmt.Errorf("nobody listens at %s", address)
	}
	if lost {
		return nil, errors.New("no way there")
	}
	raw, err := p.connect(ctx, l)
	if err != nil {
		return nil, err
	}
	c := p.net.keep(&testConn{Conn: raw, net: p.net, link: link{p.address, address}})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.from = append(l.from, dialled{raw.LocalAddr().String(), p.address})
	return c, nil
}

func (p *testPlace) connect(ctx context.Context, l *testListener) (net.Conn, error) {
	there, ok := l.Listener.(*laneListener)
	if !ok {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", l.Addr().String())
	}
	p.net.mu.Lock()
	p.net.dialled++
	ours, theirs := newLanes(fmt.Sprintf("%s/%d", p.address, p.net.dialled), l.address, p.net.rng)
	p.net.mu.Unlock()
	select {
	case there.calls <- theirs:
		return ours, nil
	case <-there.over:
		return nil, fmt.Errorf("nobody listens at %s", l.address)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// dialled says who is behind a socket.
type dialled struct{ socket, address string }

type testListener struct {
	net.Listener
	net     *testNet
	address string

	mu   sync.Mutex
	from []dialled
}

// Accept implements net.Listener.
func (l *testListener) Accept() (net.Conn, error) {
	raw, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &testConn{Conn: raw, net: l.net, link: link{l.address, ""}, listener: l}
	return l.net.keep(c), nil
}

// Close implements net.Listener.
func (l *testListener) Close() error {
	l.net.mu.Lock()
	if l.net.listeners[l.address] == l {
		delete(l.net.listeners, l.address)
	}
	l.net.mu.Unlock()
	return l.Listener.Close()
}

// testConn is one end. What is written into a cut link is gone, and so is all that
// comes after it on this connection.
type testConn struct {
	net.Conn
	net      *testNet
	link     link
	listener *testListener // of the end that accepted
	lost     bool          // under net.mu
}

func (n *testNet) keep(c *testConn) *testConn {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns[c] = struct{}{}
	return c
}

// peer finds out who dialled.
func (c *testConn) peer() string {
	if c.listener == nil || c.link.to != "" {
		return c.link.to
	}
	c.listener.mu.Lock()
	defer c.listener.mu.Unlock()
	for _, d := range c.listener.from {
		if d.socket == c.RemoteAddr().String() {
			c.link.to = d.address
		}
	}
	return c.link.to
}

// Write implements net.Conn.
func (c *testConn) Write(b []byte) (int, error) {
	to := c.peer()
	c.net.pass(c.link.from)
	c.net.mu.Lock()
	c.lost = c.lost || c.net.cut[link{c.link.from, to}]
	lost := c.lost
	c.net.mu.Unlock()
	if lost {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// Read implements net.Conn. What came for a member that stands still waits.
func (c *testConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.net.pass(c.link.from)
	return n, err
}

// freeze has a member neither say nor hear anything until thaw; nothing is lost.
func (n *testNet) freeze(address string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.frozen[address] = make(chan struct{})
}

func (n *testNet) thaw(address string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.frozen[address])
	delete(n.frozen, address)
}

// pass returns when a member does not stand still.
func (n *testNet) pass(address string) {
	n.mu.Lock()
	until := n.frozen[address]
	n.mu.Unlock()
	if until != nil {
		<-until
	}
}

// Close implements net.Conn.
func (c *testConn) Close() error {
	c.net.mu.Lock()
	delete(c.net.conns, c)
	c.net.mu.Unlock()
	return c.Conn.Close()
}

// sever cuts one direction.
func (n *testNet) sever(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[link{from, to}] = true
}

// heal mends all links. Connections that lost something end.
func (n *testNet) heal() {
	n.mu.Lock()
	clear(n.cut)
	var broken []*testConn
	for c := range n.conns {
		if c.lost {
			broken = append(broken, c)
		}
	}
	n.mu.Unlock()
	for _, c := range broken {
		c.Conn.Close() //nolint:errcheck // broken
	}
}
