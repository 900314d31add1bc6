package raftstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"github.com/caxton-run/caxton/events"
)

// Bounds of connections.
const (
	greetWithin   = 5 * time.Second // from connection to the end of hello and answer
	maxConns      = 512             // accepted at a time: seven members have some ten each
	maxUngreeted  = 64              // of them that did not say hello yet: beyond, the oldest gives way
	addressDivide = "#"
)

// raftAddress is how raft knows where a member is: its address, and the id that it
// must answer with.
func raftAddress(address string, id ServerID) raft.ServerAddress {
	return raft.ServerAddress(address + addressDivide + id.String())
}

// splitAddress takes a raftAddress apart.
func splitAddress(a raft.ServerAddress) (address string, id ServerID, err error) {
	address, name, ok := strings.Cut(string(a), addressDivide)
	parsed, err := uuid.Parse(name)
	if !ok || err != nil {
		return "", id, events.Invalidf("address", "%.80q names no member", string(a))
	}
	return address, ServerID(parsed), nil
}

// gate is every connection of this member: it dials, accepts, and lets nobody past
// who does not prove that they belong here. To raft it is a StreamLayer.
type gate struct {
	opts   Options
	id     *identity
	listen net.Listener
	state  func() answer              // what an answer says of this member
	begin  func(*conn, hello) *served // a session, which takes the place of the member's last
	empty  func() bool                // this member's log holds nothing
	member func(ServerID) bool        // as far as this member knows
	tooOld func(uint32) string        // why a member that understands no later version is refused
	calls  chan net.Conn              // for raft
	quit   chan struct{}              // closed by Close
	once   sync.Once
	tasks  sync.WaitGroup

	mu        sync.Mutex // guards what follows
	open      map[*conn]struct{}
	ungreeted []*conn // of open, that were accepted and did not say hello yet; the oldest first
}

var _ raft.StreamLayer = (*gate)(nil)

// conn is a connection that the gate can close.
type conn struct {
	net.Conn          // TLS, after the handshake
	raw      net.Conn // what the gate closes
	g        *gate
	from     ServerID // of raft's, that were accepted: who calls. Under g.mu
	once     sync.Once
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.once.Do(func() {
		c.g.mu.Lock()
		delete(c.g.open, c)
		c.g.mu.Unlock()
	})
	return c.Conn.Close()
}

func newGate(o Options, id *identity, listen net.Listener) *gate {
	return &gate{
		opts: o, id: id, listen: listen, calls: make(chan net.Conn), quit: make(chan struct{}),
		open: make(map[*conn]struct{}),
	}
}

// run accepts connections until Close.
func (g *gate) run() {
	g.tasks.Go(func() {
		for {
			raw, err := g.listen.Accept()
			if err != nil {
				select {
				case <-g.quit:
					return
				case <-time.After(10 * time.Millisecond): // out of descriptors, say
					continue
				}
			}
			if c, err := g.keep(raw); err == nil {
				g.wait(c)
				g.tasks.Go(func() { g.admit(c) })
			}
		}
	})
}

// errTooManyConns is why a connection is closed unheard.
var errTooManyConns = fmt.Errorf("%d connections are open, the most there may be", maxConns)

// keep takes a connection among those that Close closes. Errors: events.ErrClosed,
// errTooManyConns; then it is closed.
func (g *gate) keep(raw net.Conn) (*conn, error) {
	c := &conn{Conn: raw, raw: raw, g: g}
	err := errTooManyConns
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.quit:
		err = events.ErrClosed
	default:
		if len(g.open) < maxConns {
			g.open[c] = struct{}{}
			return c, nil
		}
	}
	raw.Close() //nolint:errcheck // nothing was written to it
	return nil, err
}

// wait takes an accepted connection among those that have yet to say hello. Strangers
// who say nothing must not keep members out, so the oldest gives way when there are many.
func (g *gate) wait(c *conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ungreeted = append(g.ungreeted, c); len(g.ungreeted) > maxUngreeted {
		g.ungreeted[0].raw.Close() //nolint:errcheck // admit finds out
		g.ungreeted = slices.Delete(g.ungreeted, 0, 1)
	}
}

// heard takes a connection from those that have yet to say hello.
func (g *gate) heard(c *conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.ungreeted, c); i >= 0 {
		g.ungreeted = slices.Delete(g.ungreeted, i, i+1)
	}
}

// cut closes the connections over which a member asks this one's raft.
func (g *gate) cut(from ServerID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.open {
		if c.from == from {
			c.raw.Close() //nolint:errcheck // who reads from it finds out
		}
	}
}

// admit greets whoever came and brings them where they want to go.
func (g *gate) admit(c *conn) {
	h, session, err := g.greeted(c)
	g.heard(c)
	switch {
	case session != nil && err != nil:
		session.end() // it was accepted, and is gone before it heard of that
	case err != nil:
		g.opts.Log.Logger.Warn("connection refused", "from", c.RemoteAddr().String(), "err", err)
		c.Close() //nolint:errcheck // refused anyway
	case h.purpose == forRaft:
		g.mu.Lock()
		c.from = h.from
		g.mu.Unlock()
		select {
		case g.calls <- c:
		case <-g.quit:
			c.Close() //nolint:errcheck // the store closes
		}
	case h.purpose == forSession:
		session.run()
		session.end()
	default:
		c.Close() //nolint:errcheck // the answer was all
	}
}

// greeted reads a hello, judges it and answers. After it c is TLS, if this cluster
// speaks TLS. A session begins before the answer: who has heard that may repeat what the
// last one was asked, so nothing more of that may be taken.
func (g *gate) greeted(c *conn) (h hello, session *served, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), greetWithin)
	defer cancel()
	if err := c.SetDeadline(time.Now().Add(greetWithin)); err != nil {
		return h, nil, err
	}
	refusal := ""
	if g.opts.TLS != nil {
		secured, why, err := secure(ctx, c.Conn, g.opts.TLS, false)
		if err != nil {
			return h, nil, err
		}
		c.Conn, refusal = secured, why
	}
	if h, err = readHello(c); err != nil {
		return h, nil, err
	}
	if refusal == "" {
		refusal, err = g.judge(h)
		if err != nil {
			return h, nil, err
		}
	}
	a := g.state()
	if a.accepted = refusal == ""; !a.accepted {
		a = answer{version: a.version, reason: refusal}
	}
	if a.accepted && h.purpose == forSession {
		session = g.begin(c, h)
	}
	if _, err := c.Write(a.encode()); err != nil {
		return h, session, err
	}
	if refusal != "" {
		return h, nil, &RefusedError{Address: c.RemoteAddr().String(), Reason: refusal}
	}
	return h, session, c.SetDeadline(time.Time{})
}

// judge returns why a hello is refused; "" when it is not. A member that waits to
// be added joins the cluster whose member calls it by its id.
func (g *gate) judge(h hello) (refusal string, err error) {
	own := g.id.of()
	switch {
	case h.purpose == forStatus && h.to == (ServerID{}):
	case h.to != g.id.self:
		return fmt.Sprintf("server %s is wanted, this is %s: the disk here is another one", h.to, g.id.self), nil
	case own == (ClusterID{}) && h.purpose == forRaft && h.cluster != own:
		if !g.empty() {
			return "this member has a log and no cluster: it cannot join one", nil
		}
		if _, err := g.id.join(h.cluster); err != nil {
			return "", err
		}
		own = h.cluster
	}
	old := g.tooOld(h.version)
	switch {
	case own != (ClusterID{}) && h.cluster != own:
		return fmt.Sprintf("this member belongs to cluster %s, not to %s", own, h.cluster), nil
	case h.purpose < forRaft || h.purpose > forStatus:
		return fmt.Sprintf("unknown purpose %d", h.purpose), nil
	case old != "" && own != (ClusterID{}):
		return old, nil
	case h.purpose == forSession && !g.member(h.from):
		return fmt.Sprintf("server %s is no member of this cluster", h.from), nil
	}
	return "", nil
}

// dial connects with a member, says hello and judges the answer. want is zeros for
// whoever is there.
func (g *gate) dial(ctx context.Context, address string, want ServerID, purpose byte) (*conn, answer, error) {
	ctx, cancel := context.WithTimeout(ctx, greetWithin)
	defer cancel()
	raw, err := g.opts.Network.Dial(ctx, address)
	if err != nil {
		return nil, answer{}, err
	}
	c, err := g.keep(raw)
	if err != nil {
		return nil, answer{}, err
	}
	a, err := g.sayHello(ctx, c, address, want, purpose)
	if err != nil {
		return nil, a, errors.Join(err, c.Close())
	}
	return c, a, nil
}

func (g *gate) sayHello(ctx context.Context, c *conn, address string, want ServerID, purpose byte) (answer, error) {
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return answer{}, err
	}
	if g.opts.TLS != nil {
		secured, why, err := secure(ctx, c.Conn, g.opts.TLS, true)
		if err != nil {
			return answer{}, err
		}
		if c.Conn = secured; why != "" {
			return answer{}, &RefusedError{Address: address, Reason: why}
		}
	}
	h := hello{purpose: purpose, version: g.opts.version, cluster: g.id.of(), from: g.id.self, to: want}
	if _, err := c.Write(h.encode()); err != nil {
		return answer{}, err
	}
	a, err := readAnswer(c)
	switch {
	case err != nil:
		return a, err
	case !a.accepted:
		return a, &RefusedError{Address: address, Reason: a.reason}
	case want != (ServerID{}) && a.from != want:
		return a, &RefusedError{Address: address, Reason: fmt.Sprintf("server %s answers, %s is wanted", a.from, want)}
	case a.cluster != (ClusterID{}) && a.cluster != h.cluster:
		return a, &RefusedError{Address: address, Reason: fmt.Sprintf("it belongs to cluster %s, this member to %s", a.cluster, h.cluster)}
	}
	if old := g.tooOld(a.version); old != "" && purpose != forStatus {
		return a, &RefusedError{Address: address, Reason: old}
	}
	return a, c.SetDeadline(time.Time{})
}

// Dial implements raft.StreamLayer.
func (g *gate) Dial(to raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	address, id, err := splitAddress(to)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	c, _, err := g.dial(ctx, address, id, forRaft)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Accept implements raft.StreamLayer.
func (g *gate) Accept() (net.Conn, error) {
	select {
	case c := <-g.calls:
		return c, nil
	case <-g.quit:
		return nil, net.ErrClosed
	}
}

// Addr implements raft.StreamLayer.
func (g *gate) Addr() net.Addr { return gateAddr(raftAddress(g.opts.Address, g.id.self)) }

type gateAddr string

// Network implements net.Addr.
func (gateAddr) Network() string { return "raft" }

// String implements net.Addr.
func (a gateAddr) String() string { return string(a) }

// Close implements raft.StreamLayer: all connections end, and with them who serves
// them. A second call does nothing.
func (g *gate) Close() error {
	var err error
	g.once.Do(func() {
		g.mu.Lock()
		close(g.quit)
		open := make([]*conn, 0, len(g.open))
		for c := range g.open {
			open = append(open, c)
		}
		g.mu.Unlock()
		err = g.listen.Close()
		for _, c := range open {
			c.raw.Close() //nolint:errcheck // whoever uses it will know
		}
		g.tasks.Wait()
	})
	return err
}
