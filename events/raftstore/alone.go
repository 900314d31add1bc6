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

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/caxton-run/caxton/events"
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
// pebblestore; ok is false when dir is no member's. A member whose log is missing is one
// all the same: see Adopt.
func LogDir(dir string) (path string, ok bool, err error) {
	path = filepath.Join(dir, logDir)
	st, err := os.Stat(path)
	if err == nil && st.IsDir() {
		return path, true, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", false, err
	}
	if ok, err = isMember(vfs.Default, dir); err != nil || !ok {
		return "", false, err
	}
	return path, true, nil
}

// checkMember is isMember, and refuses a member for which Open would begin an empty log in
// place of its own.
func checkMember(dir string, o pebblestore.Options) (member bool, err error) {
	if member, err = isMember(o.FS, dir); err == nil && member {
		err = checkLog(dir, o)
	}
	return member, err
}

// isMember reports whether a member in dir has come as far as to know who it is. Its log
// was there before that.
func isMember(fsys vfs.FS, dir string) (bool, error) {
	for _, name := range []string{identityName, raftDir} {
		_, err := fsys.Stat(fsys.PathJoin(dir, name))
		if !errors.Is(err, fs.ErrNotExist) {
			return err == nil, err
		}
	}
	return false, nil
}

// Adopt prepares a directory in which pebblestore wrote a log alone for Open: the log is
// put where a member has it. A crash leaves the one or the other; call it before every
// Open of such a directory.
//
// In the directory of a member it changes nothing, and looks whether Open will find or can
// make again all that the member acknowledged. Errors: those of pebblestore.Relocate;
// *events.CorruptError for a member whose log is missing for good, or that has another
// beside it.
func Adopt(dir string, o pebblestore.Options) error {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if member, err := checkMember(dir, o); err != nil || member {
		return err
	}
	return pebblestore.Relocate(dir, o.FS.PathJoin(dir, logDir), o)
}

// checkLog refuses a member for which Open would begin an empty log, though it had one with
// events. Where log/ is missing, because the power was cut while another took its place
// (Replica.Replace) or it was lost, snapshot and raft log make it again: together they hold
// all that was acknowledged.
func checkLog(dir string, o pebblestore.Options) error {
	path := o.FS.PathJoin(dir, logDir)
	if alone, err := pebblestore.IsLog(dir, o); err != nil {
		return err
	} else if alone {
		return &events.CorruptError{Where: "directory " + dir, Reason: "holds a log beside that of a member, " + path + ": it was begun when that was missing"}
	}
	if _, err := o.FS.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	x, err := examineLost(dir, o)
	if errors.Is(err, events.ErrCorrupt) {
		return &events.CorruptError{Where: "directory " + path, Reason: "is missing, and cannot be made again: " + err.Error()}
	}
	if err == nil && x.last == 0 && x.meta.Index == 0 {
		return &events.CorruptError{Where: "directory " + path, Reason: "is missing, and there is neither a snapshot nor a raft log to make it again"}
	}
	return err
}

// examineLost goes through all that the member in dir has beside its log.
func examineLost(dir string, o pebblestore.Options) (*examination, error) {
	var faults error
	x := newExamination(context.Background(), dir, o, func(fault error) { faults = errors.Join(faults, fault) })
	if err := errors.Join(x.identity(), x.snapshot(0), x.entries()); err != nil {
		return nil, err
	}
	return x, errors.Join(faults, checkExtent(x.first, x.last, x.meta.Index, x.held, 0))
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
