package pebblestore

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/caxton-run/caxton/events"
)

// DiskLevel says how full the disk of a log is, against Options.Watermarks.
//
//	roomy ⇄ filling ⇄ low ⇄ full
//
// Any level may follow any other: a disk fills and empties by other hands too.
type DiskLevel uint8

// The levels.
const (
	DiskRoomy   DiskLevel = iota
	DiskFilling           // the operator is told; nothing is refused
	DiskLow               // Admit refuses: no new work is taken on, what is under way ends
	DiskFull              // Append refuses; the ballast is gone, so that a scavenge and Close have room
)

// String returns the level's name.
func (l DiskLevel) String() string {
	switch l {
	case DiskRoomy:
		return "roomy"
	case DiskFilling:
		return "filling"
	case DiskLow:
		return "low"
	case DiskFull:
		return "full"
	}
	return fmt.Sprintf("level %d", uint8(l))
}

// Watermarks are where levels begin, in percent of the disk that is used. At
// 100 a level begins when nothing is left.
type Watermarks struct{ Filling, Low, Full int }

// DefaultWatermarks leave at least a tenth of the disk for what is under way,
// and a twentieth that only a scavenge may use.
func DefaultWatermarks() Watermarks { return Watermarks{Filling: 85, Low: 90, Full: 95} }

// watermarkMargin is how far, in percent, the use must fall below a watermark
// before its level ends: a disk on the edge must not go to and fro.
const watermarkMargin = 1

// level is the level at which so much is used, coming from another.
func (w Watermarks) level(was DiskLevel, used float64) DiskLevel {
	marks := [...]int{DiskFilling: w.Filling, DiskLow: w.Low, DiskFull: w.Full}
	for l := DiskFull; l > DiskRoomy; l-- {
		begins := float64(marks[l])
		if was >= l {
			begins -= watermarkMargin
		}
		if used >= begins {
			return l
		}
	}
	return DiskRoomy
}

// Disk is what is known of the disk that the log lies on.
type Disk struct {
	Level DiskLevel
	Free  uint64  // bytes that this process may still use; 0 where the system does not tell
	Total uint64  // bytes; 0 where the system does not tell
	Used  float64 // percent, as df(1) reckons it, the ballast counted whether it stands or not
}

// When the disk is looked at: often enough that it cannot fill between two looks
// by the log's own doing, given the distance between watermarks.
const (
	diskEvery      = 5 * time.Second
	diskEveryBytes = 16 << 20 // of events written
)

// disk watches the room for the log. Its goroutine runs from start to stop; look
// is called by it, and by Open before it starts.
type disk struct {
	fs      vfs.FS
	dir     string
	marks   Watermarks
	ballast ballast
	log     *slog.Logger

	state   atomic.Pointer[Disk]
	written atomic.Int64  // bytes since the last look
	due     chan struct{} // of capacity 1: look now
	blind   bool          // the last look failed, and that was told
	open    bool          // the log is open: the directory is this store's

	running sync.WaitGroup
	end     func() // closes the goroutine's way out; nil before start

	rose     chan struct{} // of capacity 1: the level rose
	regained chan struct{} // of capacity 1: Admit refuses no more
}

func newDisk(fsys vfs.FS, dir string, o Options) *disk {
	d := &disk{
		fs: fsys, dir: dir, marks: o.Watermarks, log: o.Logger,
		ballast: ballast{fs: fsys, dir: dir, size: o.BallastBytes},
		due:     make(chan struct{}, 1), rose: make(chan struct{}, 1), regained: make(chan struct{}, 1),
	}
	d.state.Store(&Disk{})
	return d
}

// begin is the look before the log is opened: a ballast left by a process that
// ended on a full disk is released, because opening writes. A log that is only
// looked at is left alone, ballast and all.
func (d *disk) begin(readOnly bool) {
	if readOnly {
		d.ballast.size = 0
		d.look()
		return
	}
	d.ballast.find()
	d.look()
	if d.ballast.size == 0 && d.ballast.there { // no longer wanted
		d.release()
	}
}

// renew makes the ballast anew once the directory is locked: nobody knows how
// much of an older one was reserved before its process ended.
func (d *disk) renew() {
	d.open = true
	if d.state.Load().Level < DiskLow && d.ballast.size > 0 {
		d.reserve()
	}
}

func (d *disk) start() {
	quit := make(chan struct{})
	d.end = sync.OnceFunc(func() { close(quit) })
	d.running.Go(func() { d.run(quit) })
}

// stop returns when the goroutine is gone. A second call does nothing.
func (d *disk) stop() {
	d.end()
	d.running.Wait()
}

// run looks again and again until quit is closed.
func (d *disk) run(quit <-chan struct{}) {
	tick := time.NewTicker(diskEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-d.due:
		case <-quit:
			return
		}
		d.look()
	}
}

// wrote counts what was written since the last look. It never waits.
func (d *disk) wrote(n int) {
	if d.written.Add(int64(n)) >= diskEveryBytes {
		ring(d.due)
	}
}

// soon asks for a look before the next is due.
func (d *disk) soon() { ring(d.due) }

// look measures the disk and goes to the level that follows.
func (d *disk) look() {
	d.written.Store(0)
	usage, err := d.fs.GetDiskUsage(d.dir)
	if err != nil {
		if !d.blind && !errors.Is(err, vfs.ErrUnsupported) {
			d.log.Warn("free space unknown: a full disk will come as a surprise", "dir", d.dir, "err", err)
		}
		d.blind = true
		return
	}
	d.blind = false
	was := *d.state.Load()
	now := Disk{Free: usage.AvailBytes, Total: usage.TotalBytes, Used: d.used(usage)}
	now.Level = d.marks.level(was.Level, now.Used)
	d.state.Store(&now)
	d.settleBallast(now.Level)
	if now.Level != was.Level {
		d.tell(was.Level, now)
	}
}

// used is the share of the disk in use, in percent. What only the superuser may
// use counts for neither side, as in df(1). A ballast that is not there counts as
// if it were: releasing it must not look like room for more.
func (d *disk) used(u vfs.DiskUsage) float64 {
	all := u.UsedBytes + u.AvailBytes
	if all == 0 {
		return 0
	}
	used := u.UsedBytes
	if !d.ballast.there {
		used += uint64(d.ballast.size)
	}
	return 100 * float64(min(used, all)) / float64(all)
}

// settleBallast releases the ballast when the disk is full and makes it again
// when there is room for it. Before the log is open, open is false: the
// directory may be another process's, and nothing is made in it.
func (d *disk) settleBallast(level DiskLevel) {
	switch {
	case level == DiskFull && d.ballast.there:
		d.release()
	case level < DiskLow && !d.ballast.there && d.ballast.size > 0 && d.open:
		d.reserve()
	}
}

func (d *disk) release() {
	if err := d.ballast.drop(); err != nil {
		d.log.Error("ballast not released", "file", ballastName, "err", err)
	}
}

func (d *disk) reserve() {
	if err := d.ballast.take(); err != nil {
		d.log.Warn("no ballast: on a full disk there may be no room to scavenge", "file", ballastName, "err", err)
		d.ballast.size = 0 // it will not go better the next time
	}
}

// tell makes a change of level known.
func (d *disk) tell(was DiskLevel, now Disk) {
	attrs := []any{"dir", d.dir, "used_percent", int(now.Used), "free_bytes", now.Free}
	switch now.Level {
	case DiskFull:
		d.log.Error("disk is full: the log takes nothing but scavenges; the ballast is released", attrs...)
	case DiskLow:
		d.log.Error("disk is low: messages and deployments are refused", attrs...)
	case DiskFilling:
		d.log.Warn("disk is filling", attrs...)
	default:
		d.log.Info("disk has room again", attrs...)
	}
	if now.Level > was {
		ring(d.rose)
	}
	if was >= DiskLow && now.Level < DiskLow {
		ring(d.regained)
	}
}

// refusal is what an append gets on a full disk, which is a kind of being
// read-only that passes.
func (d *disk) refusal(r *request) error {
	if r.op == opScavenge || r.stream == ScavengesStream || d.state.Load().Level < DiskFull {
		return nil
	}
	return d.lowError(events.ErrReadOnly)
}

func (d *disk) lowError(also error) error {
	now := d.state.Load()
	err := fmt.Errorf("%w: %.1f %% of it is used, %d bytes are free", events.ErrDiskLow, now.Used, now.Free)
	if also != nil {
		return fmt.Errorf("%w: %w", also, err)
	}
	return err
}

// Disk returns what the last look at the disk found, a few seconds ago at most.
func (s *Store) Disk() Disk { return *s.disk.state.Load() }

// Admit returns nil when there is room for new work, and an error that is
// events.ErrDiskLow when there is not. Whoever brings messages and deployments
// asks it; changes that end something need not.
func (s *Store) Admit() error {
	if s.disk.state.Load().Level < DiskLow {
		return nil
	}
	return s.disk.lowError(nil)
}

// DiskRose holds a token after the level rose, for one reader: a good time to
// scavenge.
func (s *Store) DiskRose() <-chan struct{} { return s.disk.rose }

// Regained holds a token after Admit began to return nil again, for one reader.
func (s *Store) Regained() <-chan struct{} { return s.disk.regained }
