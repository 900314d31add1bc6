package raftstore

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/caxton-run/caxton/events"
)

// authority signs certificates.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	a := &authority{t: t}
	a.cert, a.key = a.sign(name, nil, true)
	return a
}

// sign makes a certificate; a is its own issuer until it has a certificate.
func (a *authority) sign(name string, uris []*url.URL, isCA bool) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		a.t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, URIs: uris,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: isCA, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		a.t.Fatal(err)
	}
	return c, key
}

// passport is Credentials that can be changed.
type passport struct {
	mu    sync.Mutex // guards what follows
	own   *tls.Certificate
	roots *x509.CertPool
}

// Credentials implements Credentials.
func (p *passport) Credentials() (*tls.Certificate, *x509.CertPool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.own, p.roots, nil
}

// issue gives p a certificate with a URI among its names ("": none), and roots.
func (p *passport) issue(by *authority, uri string, roots ...*authority) {
	var uris []*url.URL
	if uri != "" {
		u, err := url.Parse(uri)
		if err != nil {
			by.t.Fatal(err)
		}
		uris = append(uris, u)
	}
	cert, key := by.sign("someone", uris, false)
	pool := x509.NewCertPool()
	for _, r := range roots {
		pool.AddCert(r.cert)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.own, p.roots = &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}, pool
}

// TestStrangersAreRefused lets members speak with who is none of theirs: each side
// says why.
func TestStrangersAreRefused(t *testing.T) {
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	c := newCluster(t)
	good := &passport{}
	good.issue(ours, "caxton://node/a", ours)
	c.start(func(o *Options) { o.TLS = good })
	lead := c.leader()
	for name, v := range map[string]struct {
		by     *authority
		roots  *authority
		uri    string
		reason string
	}{
		"another authority's":    {theirs, theirs, "caxton://node/b", "unknown authority"},
		"another's, believing":   {theirs, ours, "caxton://node/b", "unknown authority"},
		"a client":               {ours, ours, "", "not a node's"},
		"a client with a name":   {ours, ours, "caxton://client/b", "not a node's"},
		"ours, not believing us": {ours, theirs, "caxton://node/b", "unknown authority"},
	} {
		p := &passport{}
		p.issue(v.by, v.uri, v.roots)
		n := c.start(func(o *Options) { o.TLS = p })
		_, err := lead.AddMember(t.Context(), n.opts.Address)
		var refused *RefusedError
		if !errors.As(err, &refused) && name != "ours, not believing us" || err == nil {
			t.Errorf("%s: added by us: %v", name, err)
		}
		// The other way round, with a status, which needs no cluster.
		_, err = n.ask(t.Context(), lead.opts.Address, ServerID{})
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), v.reason) {
			t.Errorf("%s: asks us: %v; want %q", name, err, v.reason)
		}
	}
}

// TestCertificatesAreReloaded changes the authority of a running cluster: new
// connections use the new certificates.
func TestCertificatesAreReloaded(t *testing.T) {
	before, after := newAuthority(t, "before"), newAuthority(t, "after")
	c := newCluster(t)
	var all []*passport
	for i := range 3 {
		p := &passport{}
		p.issue(before, fmt.Sprintf("caxton://node/%d", i), before)
		all = append(all, p)
		n := c.start(func(o *Options) { o.TLS = p })
		if i > 0 {
			c.add(n)
		}
	}
	c.nodes[1].must(t, "agent-1", "before")
	for i, p := range all { // first all believe in both, then each has the new one
		p.issue(before, fmt.Sprintf("caxton://node/%d", i), before, after)
	}
	for i, p := range all {
		p.issue(after, fmt.Sprintf("caxton://node/%d", i), before, after)
	}
	for i, p := range all {
		p.issue(after, fmt.Sprintf("caxton://node/%d", i), after)
	}
	n := c.nodes[2]
	if err := n.Close(); err != nil { // its connections were made with the old ones
		t.Fatal(err)
	}
	c.open(n)
	n.must(t, "agent-1", "after")
	c.agree()
}

// TestGreeting holds each reason for which a member without TLS turns another away.
func TestGreeting(t *testing.T) {
	c := newCluster(t)
	c.grow(2)
	other := newCluster(t)
	other.net = c.net
	foreign := &node{died: make(chan string, 8)}
	foreign.opts = c.nodes[0].opts
	foreign.fs = c.nodes[0].fs.CrashClone(crashAll())
	if err := foreign.fs.RemoveAll("data"); err != nil {
		t.Fatal(err)
	}
	foreign.opts.Address = "foreign:1"
	foreign.opts.Network = c.net.at("foreign:1")
	other.nodes = append(other.nodes, foreign)
	other.open(foreign)
	other.leader()

	ask := func(n *node, address string, want ServerID, purpose byte) string {
		conn, _, err := n.gate.dial(t.Context(), address, want, purpose)
		if err == nil {
			err = conn.Close()
			return fmt.Sprint("accepted ", err)
		}
		return err.Error()
	}
	lead, address := c.nodes[0], c.nodes[0].opts.Address
	for _, v := range []struct {
		name string
		got  string
		want string
	}{
		{"another cluster", ask(foreign, address, lead.ID(), forSession), "belongs to cluster"},
		{"another cluster, asking who is there", ask(foreign, address, ServerID{}, forStatus), "belongs to cluster"},
		{"another server", ask(c.nodes[1], address, ServerID(uuid.New()), forRaft), "the disk here is another one"},
		{"nobody in particular", ask(c.nodes[1], address, ServerID{}, forRaft), "the disk here is another one"},
		{"an unknown purpose", ask(c.nodes[1], address, lead.ID(), 9), "unknown purpose 9"},
		{"a member", ask(c.nodes[1], address, lead.ID(), forStatus), "accepted <nil>"},
	} {
		if !strings.Contains(v.got, v.want) {
			t.Errorf("%s: %s; want %q", v.name, v.got, v.want)
		}
	}
	c.until("another cluster's member is refused", func() bool { // by whoever leads by now
		_, err := c.leader().AddMember(t.Context(), "foreign:1")
		return err != nil && strings.Contains(err.Error(), "belongs to cluster")
	})
	// Bytes that are no hello.
	raw, err := c.net.at("someone:1").Dial(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raw.Write([]byte(strings.Repeat("GET / HTTP/1.1\r\n", 10))); err != nil {
		t.Fatal(err)
	}
	if n, err := raw.Read(make([]byte, 10)); err == nil {
		t.Errorf("%d bytes in answer to HTTP", n)
	}
	raw.Close()
	lead.must(t, "agent-1", "all goes on")
}

// TestMembers adds, transfers to, and removes members.
func TestMembers(t *testing.T) {
	c := newCluster(t)
	c.grow(3)
	lead := c.leader()
	var follower *node
	for _, n := range c.nodes {
		if n != lead {
			follower = n
		}
	}
	if _, err := follower.AddMember(t.Context(), "nowhere:1"); !errors.Is(err, ErrNotLeader) || !strings.Contains(err.Error(), lead.opts.Address) {
		t.Errorf("added by a follower: %v; want that it names the leader", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c.until("the other leads", func() bool {
		if lead.Leads() {
			lead.TransferLeadership(ctx, follower.ID()) //nolint:errcheck // asked again
		}
		return follower.Leads()
	})
	lead, follower = follower, lead
	if id, err := lead.AddMember(ctx, follower.opts.Address); err != nil || id != follower.ID() {
		t.Errorf("a member added again: %s, %v", id, err)
	}
	var invalid *events.InvalidError
	if err := lead.RemoveMember(ctx, ServerID(uuid.New())); !errors.As(err, &invalid) {
		t.Errorf("a stranger removed: %v", err)
	}
	if err := lead.RemoveMember(ctx, follower.ID()); err != nil {
		t.Fatal(err)
	}
	if n := len(lead.Members()); n != 2 {
		t.Errorf("%d members after one was removed from 3", n)
	}
	lead.must(t, "agent-1", "by two")
	_, _, err := follower.gate.dial(ctx, lead.opts.Address, lead.ID(), forSession)
	if err == nil || !strings.Contains(err.Error(), "is no member of this cluster") {
		t.Errorf("a session of one that was removed: %v", err)
	}
	if _, err := lead.AddMember(ctx, follower.opts.Address); !errors.As(err, &invalid) || !strings.Contains(err.Error(), "only an empty one joins") {
		t.Errorf("a member with a log added: %v", err)
	}
	// Its disk wiped it is another one, and welcome.
	was := follower.ID()
	if err := follower.Close(); err != nil {
		t.Fatal(err)
	}
	if err := follower.fs.RemoveAll("data"); err != nil {
		t.Fatal(err)
	}
	follower.opts.Bootstrap = false
	c.open(follower)
	if follower.ID() == was {
		t.Error("a wiped disk has the same id")
	}
	c.add(follower)
	follower.must(t, "agent-1", "by three again")
	c.agree()
}
