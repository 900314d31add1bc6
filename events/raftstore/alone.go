package raftstore

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/caxton-run/caxton/events/pebblestore"
)

// aloneHeartbeat is that of a member without others: it waits for as long before it
// leads, at each start, and there is nobody who could be slow.
const aloneHeartbeat = 100 * time.Millisecond

// Alone makes options those of a cluster of one that nobody reaches: it opens no port.
func (o Options) Alone() Options {
	o.Address, o.Network, o.Heartbeat, o.Bootstrap = "localhost:7948", nobody{}, aloneHeartbeat, true
	return o
}

// LogDir is where the log of the member in dir lies, for who looks at it with
// pebblestore; ok is false when dir is no member's.
func LogDir(dir string) (path string, ok bool, err error) {
	path = filepath.Join(dir, logDir)
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if err != nil || !st.IsDir() {
		return "", false, err
	}
	return path, true, nil
}

// Adopt prepares a directory in which pebblestore wrote a log alone for Open: the log is
// put where a member has it. A crash leaves the one or the other; call it before every
// Open of such a directory. Errors: those of pebblestore.Relocate.
func Adopt(dir string, o pebblestore.Options) error {
	return pebblestore.Relocate(dir, filepath.Join(dir, logDir), o)
}

// nobody is a Network without others.
type nobody struct{}

// Listen implements Network.
func (nobody) Listen(address string) (net.Listener, error) {
	return &silence{address: address, over: make(chan struct{})}, nil
}

// Dial implements Network.
func (nobody) Dial(context.Context, string) (net.Conn, error) {
	return nil, errors.New("this member has no network")
}

// silence is a listener to which nobody comes.
type silence struct {
	address string
	over    chan struct{} // closed by Close
	once    sync.Once
}

// Accept implements net.Listener.
func (s *silence) Accept() (net.Conn, error) {
	<-s.over
	return nil, net.ErrClosed
}

// Close implements net.Listener.
func (s *silence) Close() error {
	s.once.Do(func() { close(s.over) })
	return nil
}

// Addr implements net.Listener.
func (s *silence) Addr() net.Addr { return gateAddr(s.address) }
