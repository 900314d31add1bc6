package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
)

// directory looks at the data directory and at the log in it.
func (d *doctor) directory(ctx context.Context) finding {
	f := finding{Check: "data directory", Status: checkOK, Measured: d.dir}
	st, err := os.Stat(d.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.Measured += ": not there yet, made at the first start"
		if err := syscall.Access(d.ground(), 2); err != nil { // W_OK
			f.worse(checkFail, fmt.Sprintf("make it as the server's user, who cannot write to %s, or choose another: --data-dir", d.ground()))
		}
		return f
	case err != nil:
		f.Measured = err.Error()
		f.worse(checkFail, "let the server's user read and write it, or choose another: --data-dir")
		return f
	case !st.IsDir():
		f.Measured += " is no directory"
		f.worse(checkFail, "choose another: --data-dir")
		return f
	case syscall.Access(d.dir, 2) != nil:
		f.Measured += ": this user cannot write to it"
		f.worse(checkFail, "run this as the server's user, or give it the directory: chown")
	}
	const others = 0o077
	if st.Mode()&others != 0 {
		f.Measured += fmt.Sprintf(", open to other users (%04o)", st.Mode().Perm())
		f.worse(checkWarn, "chmod 700 "+d.dir)
	}
	path, err := logPath(d.dir)
	if err != nil {
		f.Measured += ": " + err.Error()
		f.worse(checkFail, "let the server's user read and write it")
		return f
	}
	d.lookAtLog(ctx, path, &f)
	if why, isolated, err := pebblestore.Isolated(path); isolated || err != nil {
		f.Measured += ", isolated: " + oneLine(first(why, fmt.Sprint(err)))
		f.worse(checkFail, "the disk failed; once it is sound: caxton log verify --deep --clear-isolated --data-dir "+d.dir)
	}
	return f
}

// lookAtLog opens the log in path to read, unless a server has it.
func (d *doctor) lookAtLog(ctx context.Context, path string, f *finding) {
	opts := pebblestore.DefaultOptions()
	opts.ReadOnly = true
	s, err := pebblestore.Open(path, opts)
	switch {
	case errors.Is(err, pebblestore.ErrInUse):
		d.served = true
		f.Measured += ": in use by a running server"
		return
	case errors.Is(err, pebblestore.ErrNoLog):
		f.Measured += ": no log yet"
		return
	case err != nil:
		f.Measured = err.Error()
		f.worse(checkFail, "see what is wrong: caxton log verify --deep --data-dir "+d.dir)
		return
	}
	last := events.ReadAllOptions{From: events.EndOfLog, Direction: events.Backwards, Max: 1}
	for rec, readErr := range s.ReadAll(ctx, last) {
		if err = readErr; err == nil {
			d.last = rec.RecordedAt
		}
	}
	f.Measured += fmt.Sprintf(": %s, %s", count(uint64(s.Root().Next), "event"), bytesOf(s.Stats().DiskBytes))
	if err = errors.Join(err, s.Close()); err != nil {
		f.Measured += ", " + err.Error()
		f.worse(checkFail, "see what is wrong: caxton log verify --deep --data-dir "+d.dir)
	}
}

// ground is the data directory, or what is there of the way to it.
func (d *doctor) ground() string {
	dir := d.dir
	for {
		if st, err := os.Stat(dir); err == nil && st.IsDir() || filepath.Dir(dir) == dir {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// Bounds of the disk's speed. A message waits for one sync at least, and often
// for little else; these are the runbook's targets for its processing.
const (
	goodSync = time.Millisecond      // of the median
	goodTail = 10 * time.Millisecond // of 99 in 100
)

// How much is measured: enough for a 99th percentile, in a time that people wait.
const (
	maxSyncs   = 500
	minSyncs   = 5 // however slow
	syncsTime  = 2 * time.Second
	syncRecord = 300 // bytes: about one event
)

// syncSpeed measures what a durable write costs where the log is or will be.
func (d *doctor) syncSpeed(ctx context.Context) finding {
	f := finding{Check: "disk speed", Status: checkOK}
	took, err := syncTimes(ctx, d.ground())
	if err != nil {
		f.Measured = "not measured: " + err.Error()
		f.worse(checkWarn, "run this as the server's user")
		return f
	}
	slices.Sort(took)
	judgeSync(&f, took[len(took)/2], took[len(took)*99/100], d.cfg.Messaging.SpillAfter)
	f.Measured += fmt.Sprintf(" (%d of them)", len(took))
	return f
}

// judgeSync: beyond spill, messages are queued on disk before they are handled,
// which makes two syncs of one, and a slow disk slower.
func judgeSync(f *finding, median, tail, spill time.Duration) {
	f.Measured = fmt.Sprintf("sync P50 %s, P99 %s", brief(median), brief(tail))
	const disk = "put the data directory on a local SSD, away from other writers"
	switch {
	case median > spill:
		f.worse(checkFail, fmt.Sprintf("each message would wait longer than messaging.spill_after (%s): %s", spill, disk))
	case median > goodSync:
		f.worse(checkWarn, fmt.Sprintf("a message takes longer than its target of %s at the median: %s", goodSync, disk))
	case tail > goodTail:
		f.worse(checkWarn, fmt.Sprintf("1 message in 100 takes longer than its target of %s: %s", goodTail, disk))
	}
}

// syncTimes appends records to a file, each synced before the next, and returns
// how long each took.
func syncTimes(ctx context.Context, dir string) (took []time.Duration, err error) {
	file, err := os.CreateTemp(dir, ".caxton-doctor-*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(file.Name())) }()
	record := make([]byte, syncRecord)
	for began := time.Now(); len(took) < minSyncs || len(took) < maxSyncs && time.Since(began) < syncsTime; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		start := time.Now()
		if _, err := file.Write(record); err != nil {
			return nil, err
		}
		if err := file.Sync(); err != nil {
			return nil, err
		}
		took = append(took, time.Since(start))
	}
	return took, nil
}

// space looks at the room on the data directory's disk, and at what it is.
func (d *doctor) space(context.Context) finding {
	f := finding{Check: "disk space", Status: checkOK}
	var st syscall.Statfs_t
	if err := syscall.Statfs(d.ground(), &st); err != nil {
		f.Measured = "not measured: " + err.Error()
		f.worse(checkWarn, "run this as the server's user")
		return f
	}
	unit := uint64(st.Frsize)
	used, free := (st.Blocks-st.Bfree)*unit, st.Bavail*unit
	f.Measured = fmt.Sprintf("%s free of %s", bytesOf(free), bytesOf(used+free))
	if used+free > 0 {
		disk := d.cfg.Events.Disk
		judgeSpace(&f, 100*float64(used)/float64(used+free), pebblestore.Watermarks{Filling: disk.WarnPercent, Low: disk.RefusePercent, Full: disk.ReadOnlyPercent})
	}
	if ballast := uint64(d.cfg.Events.Disk.Ballast); !d.served && free < ballast {
		f.worse(checkWarn, fmt.Sprintf("there is no room for the ballast of %s (events.disk.ballast): free some", bytesOf(ballast)))
	}
	if st.Files > 0 && st.Ffree < st.Files/20 {
		f.Measured += fmt.Sprintf(", %s free", count(st.Ffree, "inode"))
		f.worse(checkWarn, "remove small files: the disk is running out of inodes")
	}
	judgeFileSystem(&f, int64(st.Type))
	return f
}

// judgeSpace holds the use, in percent as df(1) reckons it, against the log's
// watermarks.
func judgeSpace(f *finding, used float64, marks pebblestore.Watermarks) {
	f.Measured += fmt.Sprintf(", %.1f %% used", used)
	const room = "free some, or grow the disk"
	switch {
	case used >= float64(marks.Full):
		f.worse(checkFail, fmt.Sprintf("from %d %% on the log is read-only: %s", marks.Full, room))
	case used >= float64(marks.Low):
		f.worse(checkFail, fmt.Sprintf("from %d %% on messages and deployments are refused: %s", marks.Low, room))
	case used >= float64(marks.Filling):
		f.worse(checkWarn, fmt.Sprintf("from %d %% on messages and deployments are refused: %s", marks.Low, room))
	}
}

// judgeFileSystem knows those that do not keep what they were given. Numbers are
// those of statfs(2).
func judgeFileSystem(f *finding, kind int64) {
	const ramfs, tmpfs, overlay, nfs, smb, cifs, fuse = 0x858458f6, 0x01021994, 0x794c7630, 0x6969, 0x517b, 0xff534d42, 0x65735546
	switch kind {
	case ramfs, tmpfs:
		f.Measured += ", in memory"
		f.worse(checkWarn, "what is in memory is lost with the power: put the data directory on a disk")
	case overlay:
		f.Measured += ", in a container's layer"
		f.worse(checkWarn, "what is in a container's layer is lost with the container: put the data directory on a volume")
	case nfs, smb, cifs, fuse:
		f.Measured += ", not a local disk"
		f.worse(checkWarn, "locks and syncs of this file system may not hold: put the data directory on a local disk")
	}
}
