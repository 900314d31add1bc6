package raftstore

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/caxton-run/caxton/events"
)

// processEnv makes a test binary a member: a process of its own that is told what to
// do by lines of JSON, and answers each with one.
const processEnv = "CAXTON_RAFTSTORE_PROCESS"

// birth is the first line.
type birth struct {
	Dir, Address string
	Bootstrap    bool
	Heartbeat    time.Duration
	Cert, Key    []byte // PEM; none: in the clear
	Roots        []byte
}

// wish is every other line.
type wish struct {
	Do      string // append, add, load, status, lead
	Name    string // of the event; address of the member
	Writers int
	For     time.Duration
}

// report answers a line.
type report struct {
	Err                 string
	Leads               bool
	Writes, Understands uint32
	Next                events.Position
	Raised              int // events that raise the version
	Entry               int // newest version of an entry in the raft log
	Done                int
	Elapsed             time.Duration
}

func runProcess() {
	in := json.NewDecoder(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	say := func(r report, err error) {
		if err != nil {
			r.Err = err.Error()
		}
		if out.Encode(r) != nil {
			os.Exit(1)
		}
	}
	var b birth
	if err := in.Decode(&b); err != nil {
		os.Exit(1)
	}
	s, err := Open(b.Dir, b.options())
	say(report{}, err)
	if err != nil {
		os.Exit(1)
	}
	l := &load{s: s}
	for {
		var w wish
		if err := in.Decode(&w); err != nil { // the parent closed the pipe
			if err := s.Close(); err != nil {
				os.Exit(1)
			}
			return
		}
		say(l.grant(w))
	}
}

func (b birth) options() Options {
	o := DefaultOptions()
	o.Log.BallastBytes = 0
	o.Address, o.Bootstrap, o.Heartbeat = b.Address, b.Bootstrap, b.Heartbeat
	o.Log.Fatal = func(msg string) {
		fmt.Fprintln(os.Stderr, msg)
		os.Exit(3)
	}
	if b.Cert == nil {
		return o
	}
	own, err := tls.X509KeyPair(b.Cert, b.Key)
	if err != nil {
		panic(err)
	}
	p := &passport{own: &own, roots: x509.NewCertPool()}
	p.roots.AppendCertsFromPEM(b.Roots)
	o.TLS = p
	return o
}

// load is a member and who works with it.
type load struct {
	s       *Store
	writers map[int]*contender
}

func (l *load) grant(w wish) (r report, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	switch w.Do {
	case "append":
		_, err = l.s.Append(ctx, "agent-1", events.Any(), event(w.Name))
	case "add":
		_, err = l.s.AddMember(ctx, w.Name)
	case "lead":
		err = l.s.TransferLeadership(ctx, ServerID{})
	case "load":
		return l.write(w)
	case "status":
		return l.status(ctx)
	default:
		err = errors.New("unknown wish")
	}
	return r, err
}

// write lets writers append for a while.
func (l *load) write(w wish) (r report, err error) {
	if l.writers == nil {
		l.writers = make(map[int]*contender)
	}
	c := l.writers[w.Writers]
	if c == nil {
		c = appends("", l.s, w.Writers)
		c.calls = make([]int, w.Writers)
		l.writers[w.Writers] = c
	}
	var done atomic.Int64
	var fault atomic.Pointer[error]
	var wg sync.WaitGroup
	began := time.Now()
	for i := range w.Writers {
		wg.Go(func() {
			for time.Since(began) < w.For {
				if err := c.write(i, c.calls[i]); err != nil {
					fault.Store(&err)
					return
				}
				c.calls[i]++
				done.Add(1)
			}
		})
	}
	wg.Wait()
	if p := fault.Load(); p != nil {
		err = *p
	}
	return report{Done: int(done.Load()), Elapsed: time.Since(began)}, err
}

func (l *load) status(ctx context.Context) (r report, err error) {
	r.Leads, r.Next = l.s.Leads(), l.s.Root().Next
	r.Writes, r.Understands = l.s.Version()
	for ev, err := range l.s.ReadStream(ctx, events.ClusterStream(), events.ReadStreamOptions{}) {
		if errors.Is(err, events.ErrStreamNotFound) {
			break
		}
		if err != nil {
			return r, err
		}
		if ev.Type == (events.ClusterVersionRaised{}).EventType() {
			r.Raised++
		}
	}
	first, err := l.s.logs.FirstIndex()
	if err != nil {
		return r, err
	}
	last, err := l.s.logs.LastIndex()
	for i := first; err == nil && i > 0 && i <= last; i++ {
		var e raft.Log
		if err = l.s.logs.read(i, &e); err == nil && e.Type == raft.LogCommand {
			r.Entry = max(r.Entry, int(e.Data[0]))
		}
	}
	return r, err
}

// process is a member in a process of its own, as its parent sees it.
type process struct {
	t    testing.TB
	born birth
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *json.Decoder
	said *tail
}

// tail keeps what a process wrote to its standard error.
type tail struct {
	mu sync.Mutex
	b  []byte
}

// Write implements io.Writer.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}

// spawn starts a member of a build, which is a test binary. The error is why it could
// not open its directory.
func spawn(t testing.TB, binary string, b birth) (*process, error) {
	t.Helper()
	p := &process{t: t, born: b, said: &tail{}}
	p.cmd = exec.Command(binary, "-test.run=^$")
	p.cmd.Env = append(os.Environ(), processEnv+"=1")
	p.cmd.Stderr = p.said
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = json.NewDecoder(bufio.NewReader(out))
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	_, err = p.tell(b)
	return p, err
}

// tell sends a line and returns the answer; an error is the process's, or its end.
func (p *process) tell(line any) (r report, err error) {
	if err := json.NewEncoder(p.in).Encode(line); err != nil {
		return r, fmt.Errorf("%w: %s", err, p.said)
	}
	if err := p.out.Decode(&r); err != nil {
		p.cmd.Wait() //nolint:errcheck // what it said counts
		return r, fmt.Errorf("%w: %s", err, p.said)
	}
	if r.Err != "" {
		return r, errors.New(r.Err)
	}
	return r, nil
}

func (p *process) must(w wish) report {
	p.t.Helper()
	r, err := p.tell(w)
	if err != nil {
		p.t.Fatalf("%s: %s: %v", p.born.Address, w.Do, err)
	}
	return r
}

// stop ends the process as Close does.
func (p *process) stop() {
	p.t.Helper()
	if err := errors.Join(p.in.Close(), p.cmd.Wait()); err != nil {
		p.t.Errorf("stop %s: %v: %s", p.born.Address, err, p.said)
	}
}

// kill ends it as it is.
func (p *process) kill() {
	if p.cmd.ProcessState == nil {
		p.cmd.Process.Kill() //nolint:errcheck // it may have ended
		p.cmd.Wait()         //nolint:errcheck // it was killed
	}
}

// births are some members on this machine's disk and network, with mutual TLS. The
// first makes the cluster.
func births(t testing.TB, n int) []birth {
	t.Helper()
	ca := newAuthority(t, "test")
	roots := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw})
	out := make([]birth, n)
	for i := range out {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		cert, key := ca.sign("node", nodeURI(t, i), false)
		der, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		out[i] = birth{
			Dir: filepath.Join(t.TempDir(), "data"), Address: l.Addr().String(), Bootstrap: i == 0, Heartbeat: defaultHeartbeat,
			Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}),
			Key:  pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), Roots: roots,
		}
	}
	return out
}

// family starts members of one build and makes a cluster of them.
func family(t testing.TB, binary string, n int, change func(*birth)) []*process {
	t.Helper()
	var all []*process
	for _, b := range births(t, n) {
		if change != nil {
			change(&b)
		}
		p, err := spawn(t, binary, b)
		if err != nil {
			t.Fatal(err)
		}
		if all = append(all, p); len(all) == 1 {
			p.must(wish{Do: "append", Name: "first"}) // it leads then
		} else {
			all[0].must(wish{Do: "add", Name: b.Address})
		}
	}
	return all
}

// again starts a member that is down, of any build.
func (p *process) again(binary string) (*process, error) {
	p.t.Helper()
	return spawn(p.t, binary, p.born)
}

// nodeURI is the name that a node's certificate has.
func nodeURI(t testing.TB, i int) []*url.URL {
	t.Helper()
	u, err := url.Parse(fmt.Sprintf("caxton://node/%d", i))
	if err != nil {
		t.Fatal(err)
	}
	return []*url.URL{u}
}
