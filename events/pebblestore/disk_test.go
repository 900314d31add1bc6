package pebblestore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"golang.org/x/sys/unix"

	"github.com/caxton-run/caxton/events"
)

// A failed write ends the process, so this test has one of its own: the test
// binary runs itself with these variables set, and does brokenDisk alone.
const (
	brokenDirEnv = "CAXTON_TEST_BROKEN_DIR"
	brokenAtEnv  = "CAXTON_TEST_BROKEN_AT" // "<n> <kind>": the n-th operation of this kind fails
)

// breaker fails one kind of operation on a disk.
type breaker struct {
	kind string
	at   int64 // 0: never
	seen atomic.Int64
}

// MaybeError implements errorfs.Injector. A sync fails once: whoever asks again
// is told that all is well, as Linux does. A full disk stays full.
func (b *breaker) MaybeError(op errorfs.Op) error {
	switch op.Kind {
	case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
		if b.kind == "sync of the directory" && filepath.Base(op.Path) == "log" && b.seen.Add(1) == b.at {
			return unix.EIO
		}
		if b.kind == "sync" && b.seen.Add(1) == b.at {
			return unix.EIO
		}
	case errorfs.OpFileWrite, errorfs.OpFilePreallocate:
		if b.kind == "write" && b.seen.Add(1) == b.at {
			return unix.EIO
		}
		if b.kind == "full" && b.seen.Add(1) >= b.at && b.at > 0 {
			return unix.ENOSPC
		}
	case errorfs.OpCreate:
		if b.kind == "create" && b.seen.Add(1) == b.at {
			return unix.EMFILE
		}
	default: // reads, names, directories, the notes
		if b.kind == "other" && b.seen.Add(1) == b.at {
			return unix.EIO
		}
	}
	return nil
}

// String implements errorfs.Injector.
func (b *breaker) String() string { return fmt.Sprint(b.kind, " ", b.at) }

// brokenDisk is the child: it works with a log, closes it, and works with it once
// more; so that what opens a log with something in it fails too. It returns the
// process's exit status.
func brokenDisk(dir, at string) int {
	b := &breaker{}
	n, kind, _ := strings.Cut(at, " ")
	b.kind = kind
	if _, err := fmt.Sscan(n, &b.at); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	fsys, rng := errorfs.Wrap(vfs.Default, b), rand.New(rand.NewPCG(1, 1))
	for range 2 {
		if err := brokenWork(dir, fsys, rng); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 3
		}
	}
	fmt.Println("seen", b.seen.Load())
	return 0
}

// brokenWork appends to two streams and tells of each acknowledgement, scavenges,
// copies the log, flushes and closes it.
func brokenWork(dir string, fsys vfs.FS, rng *rand.Rand) error {
	s, err := Open(dir, smallOptions(fsys))
	if err != nil {
		return err
	}
	ctx := context.Background()
	for i := range 40 {
		stream := events.Stream(fmt.Sprintf("agent-%d", i%2))
		evs := part(fmt.Sprint(i), 1+i%3, rng.IntN(16_000))
		r, err := s.Append(ctx, stream, events.Any(), evs...)
		if err != nil {
			return err
		}
		for j, ev := range evs {
			fmt.Println("acked", ev.ID, stream, int(r.First)+j)
		}
	}
	gone := part("hidden", 4, 3000)
	_, appended := s.Append(ctx, "snapshot-0", events.Any(), gone...)
	_, told := s.SetStreamMetadata(ctx, "snapshot-0", events.Any(), events.StreamMetadata{MaxCount: 1})
	_, scavenged := s.Scavenge(ctx, ScavengeOptions{})
	_, copied := s.Checkpoint(dir + "-copy")
	if err := errors.Join(appended, told, scavenged, copied, os.RemoveAll(dir+"-copy")); err != nil {
		return err
	}
	flushed, err := s.db.AsyncFlush()
	if err != nil {
		return err
	}
	select {
	case <-flushed:
	case <-time.After(500 * time.Millisecond): // on a full disk it is tried for ever
		return errors.New("not flushed")
	}
	return s.Close()
}

// TestDiskFails lets an operation fail at many points of a workload that
// rotates and flushes the log, at more with CAXTON_LONG=1 and at every one with
// CAXTON_LONG=all: whatever the process does then, no acknowledged event is lost,
// and a directory whose sync failed is marked.
func TestDiskFails(t *testing.T) {
	if testing.Short() {
		t.Skip("starts dozens of processes")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	run := func(t *testing.T, dir, kind string, at int) (stdout, stderr string, ok bool) {
		cmd := exec.CommandContext(t.Context(), self)
		cmd.Env = append(os.Environ(), brokenDirEnv+"="+dir, fmt.Sprintf("%s=%d %s", brokenAtEnv, at, kind))
		var out, errs strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &errs
		err := cmd.Run()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return out.String(), errs.String(), err == nil
	}
	points := map[string]int{"": 12, "all": math.MaxInt}[os.Getenv("CAXTON_LONG")]
	if points == 0 {
		points = 40
	}
	for _, kind := range []string{"sync", "sync of the directory", "write", "full", "create", "other"} {
		t.Run(kind, func(t *testing.T) {
			out, errs, ok := run(t, filepath.Join(t.TempDir(), "log"), kind, 0)
			var total int
			if _, err := fmt.Sscan(out[max(0, strings.LastIndex(out, "seen ")+5):], &total); err != nil || !ok {
				t.Fatalf("without a fault: %v, %s", err, errs)
			}
			failed := 0
			for at := 1; at <= total; at += max(1, total/points) {
				dir := filepath.Join(t.TempDir(), "log")
				out, errs, ok := run(t, dir, kind, at)
				if !ok {
					failed++
				}
				if strings.Contains(errs, "goroutine ") {
					t.Errorf("the process panicked")
				}
				checkBroken(t, dir, out)
				if t.Failed() {
					t.Fatalf("%s %d of %d: %s", kind, at, total, errs)
				}
			}
			t.Logf("%d operations, %d processes failed", total, failed)
			if failed == 0 {
				t.Error("no fault had an effect")
			}
		})
	}
}

// checkBroken opens what a failed process left behind.
func checkBroken(t *testing.T, dir, stdout string) {
	t.Helper()
	acked := make(map[string]bool)
	for line := range strings.Lines(stdout) {
		if after, ok := strings.CutPrefix(line, "acked "); ok {
			acked[strings.TrimSpace(after)] = true
		}
	}
	s, err := Open(dir, smallOptions(nil))
	if err != nil {
		t.Errorf("open after the fault, %d events acknowledged: %v", len(acked), err)
		return
	}
	defer s.Close()
	if _, err := s.Verify(t.Context(), func(fault error) { t.Error(fault) }, nil); err != nil {
		t.Error(err)
	}
	for ev, err := range s.ReadAll(t.Context(), events.ReadAllOptions{}) {
		if err != nil {
			t.Error(err)
			return
		}
		delete(acked, fmt.Sprint(ev.ID, " ", ev.Stream, " ", ev.Revision))
	}
	for line := range acked {
		t.Errorf("acknowledged and lost: %s", line)
	}
}
