package raftstore

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// builds makes two binaries of this package: as it is, and as it will be.
func builds(t *testing.T) (this, next string) {
	t.Helper()
	dir := t.TempDir()
	this, next = filepath.Join(dir, "this"), filepath.Join(dir, "next")
	for _, args := range [][]string{{"-o", this}, {"-tags", "caxton_next", "-o", next}} {
		cmd := exec.Command("go", append(append([]string{"test", "-c"}, args...), ".")...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %v: %v\n%s", args, err, out)
		}
	}
	return this, next
}

// upgrade is a cluster of processes whose builds change.
type upgrade struct {
	t   *testing.T
	all []*process
	n   int // appends so far
}

// look has each member append, and returns what each says when all have the same log.
func (u *upgrade) look() []report {
	u.t.Helper()
	for _, p := range u.all {
		u.n++
		p.must(wish{Do: "append", Name: fmt.Sprint(u.n)})
	}
	deadline := time.Now().Add(patience)
	for {
		out := make([]report, len(u.all))
		equal := true
		for i, p := range u.all {
			out[i] = p.must(wish{Do: "status"})
			equal = equal && out[i].Next == out[0].Next
		}
		if equal {
			return out
		}
		if time.Now().After(deadline) {
			u.t.Fatalf("members never had the same log: %+v", out)
		}
	}
}

// replace stops a member and starts it with another build.
func (u *upgrade) replace(i int, binary string) {
	u.t.Helper()
	u.all[i].stop()
	p, err := u.all[i].again(binary)
	if err != nil {
		u.t.Fatal(err)
	}
	u.all[i] = p
}

// lead makes a member lead, so that whoever could raise the version tries to.
func (u *upgrade) lead(i int) {
	u.t.Helper()
	deadline := time.Now().Add(patience)
	for !u.all[i].must(wish{Do: "status"}).Leads {
		if time.Now().After(deadline) {
			u.t.Fatalf("member %d never led", i)
		}
		for _, p := range u.all {
			if p.must(wish{Do: "status"}).Leads {
				p.tell(wish{Do: "lead"}) //nolint:errcheck // tried again
			}
		}
	}
}

// TestTwoBuilds replaces the members of a cluster, one by one, by those of the build
// that comes next. All that is written meanwhile can be read by this one, so a member
// may go back. With the last one the version is raised, once, and this build is
// refused with the reason: on a disk that has the new version, by the members, and as
// one that wants to join.
func TestTwoBuilds(t *testing.T) {
	this, next := builds(t)
	u := &upgrade{t: t, all: family(t, this, 3, func(b *birth) { b.Heartbeat = 300 * time.Millisecond })}
	wantOld := func(when string) {
		t.Helper()
		for i, r := range u.look() {
			if r.Writes != 1 || r.Raised != 0 || r.Entry != 1 {
				t.Fatalf("%s: member %d: %+v; want all of version 1", when, i, r)
			}
		}
	}
	wantOld("all of this build")
	u.replace(0, next)
	u.replace(1, next)
	wantOld("two of three of the next")
	u.lead(1) // a new leader asks all others before it does anything
	for began := time.Now(); time.Since(began) < 5*u.all[0].born.Heartbeat; {
		wantOld("a new one leads")
	}
	u.replace(1, this)
	wantOld("one went back")
	u.replace(1, next)
	u.replace(2, next)
	deadline := time.Now().Add(patience)
	for {
		raised := true
		for _, p := range u.all {
			raised = raised && p.must(wish{Do: "status"}).Writes == 2
		}
		if raised {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the version was never raised")
		}
	}
	u.lead(0) // another leader does not raise it again
	for i, r := range u.look() {
		if r.Writes != 2 || r.Understands != 2 || r.Raised != 1 || r.Entry != 2 {
			t.Errorf("all of the next: member %d: %+v; want it raised once and written", i, r)
		}
	}

	const reason = "the cluster writes version 2 and this build understands versions up to 1"
	u.all[2].stop()
	if _, err := u.all[2].again(this); err == nil || !strings.Contains(err.Error(), reason) {
		t.Errorf("back to this build: %v; want %q", err, reason)
	}
	p, err := u.all[2].again(next)
	if err != nil {
		t.Fatal(err)
	}
	u.all[2] = p
	stranger := u.all[0].born
	stranger.Dir, stranger.Bootstrap, stranger.Address = filepath.Join(t.TempDir(), "data"), false, births(t, 1)[0].Address
	if _, err := spawn(t, this, stranger); err != nil {
		t.Fatal(err)
	}
	for _, p := range u.all {
		if _, err := p.tell(wish{Do: "add", Name: stranger.Address}); err == nil {
			t.Error("one of this build was added")
		} else if p.must(wish{Do: "status"}).Leads && !strings.Contains(err.Error(), reason) {
			t.Errorf("one of this build added: %v; want %q", err, reason)
		}
	}
	u.look()
}

// TestOldMemberIsTurnedAway brings back a member on a disk that does not know of the
// raised version: the others say why they do not speak with it.
func TestOldMemberIsTurnedAway(t *testing.T) {
	c := newCluster(t)
	c.grow(3, func(o *Options) { o.version = memberVersion + 1 })
	c.until("the version is raised", func() bool {
		for _, n := range c.nodes {
			if writes, _ := n.Version(); writes != memberVersion+1 {
				return false
			}
		}
		return true
	})
	n := c.nodes[2]
	if n.Leads() {
		n = c.nodes[1]
	}
	lead := c.leader()
	_, answer, err := (&gate{opts: withVersion(n.opts, memberVersion), id: n.id, open: map[*conn]struct{}{}, quit: make(chan struct{}),
		tooOld: func(uint32) string { return "" }}).dial(t.Context(), lead.opts.Address, lead.ID(), forRaft)
	want := fmt.Sprintf("the cluster writes version %d and this build understands versions up to %d", memberVersion+1, memberVersion)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("greeted as an old one: %v, %+v; want %q", err, answer, want)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	o := withVersion(n.opts, memberVersion)
	if s, err := Open("data", o); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("opened by an old build: %v, %v; want %q", s, err, want)
	}
	c.open(n)
	n.must(t, "agent-1", "by the new build")
	c.agree()
}

func withVersion(o Options, v uint32) Options {
	o.version = v
	return o.withDefaults()
}
