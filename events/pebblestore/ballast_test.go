package pebblestore

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"golang.org/x/sys/unix"

	"github.com/caxton-run/caxton/events"
)

func TestWatermarks(t *testing.T) {
	w := DefaultWatermarks()
	for _, c := range []struct {
		was  DiskLevel
		used float64
		want DiskLevel
	}{
		{DiskRoomy, 0, DiskRoomy},
		{DiskRoomy, 84.9, DiskRoomy},
		{DiskRoomy, 85, DiskFilling},
		{DiskFilling, 84.1, DiskFilling}, // the margin
		{DiskFilling, 83.9, DiskRoomy},
		{DiskRoomy, 90, DiskLow},
		{DiskLow, 89.1, DiskLow},
		{DiskLow, 88.9, DiskFilling},
		{DiskLow, 83.9, DiskRoomy},
		{DiskRoomy, 95, DiskFull},
		{DiskFull, 94.1, DiskFull},
		{DiskFull, 93.9, DiskLow},
		{DiskFull, 100, DiskFull},
		{DiskFull, 10, DiskRoomy},
	} {
		if got := w.level(c.was, c.used); got != c.want {
			t.Errorf("from %s at %g %%: %s, want %s", c.was, c.used, got, c.want)
		}
	}
	if at := (Watermarks{100, 100, 100}).level(DiskRoomy, 99.9); at != DiskRoomy {
		t.Errorf("watermarks of 100 at 99.9 %%: %s", at)
	}
	for _, w := range []Watermarks{{}, {90, 85, 95}, {85, 90, 101}, {85, 90, 89}} {
		o := DefaultOptions()
		o.Watermarks = w
		if err := o.Validate(); err == nil {
			t.Errorf("%+v is accepted", w)
		}
	}
}

// lines keeps the messages of a log.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, string(b))
	return len(b), nil
}

// about returns how many lines say what.
func (l *lines) about(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, line := range l.all {
		if strings.Contains(line, what) {
			n++
		}
	}
	return n
}

// usage is a disk of 100 GiB of which so much is used.
func usage(percent uint64) vfs.DiskUsage {
	return vfs.DiskUsage{TotalBytes: 100 << 30, UsedBytes: percent << 30, AvailBytes: (100 - percent) << 30}
}

func there(fsys vfs.FS, name string) bool {
	_, err := fsys.Stat(fsys.PathJoin("log", name))
	return err == nil
}

// TestDiskFills goes up and down through all levels. No look but the test's own
// comes in time to matter.
func TestDiskFills(t *testing.T) {
	mem, told := vfs.NewMem(), new(lines)
	mem.TestingSetDiskUsage(usage(10))
	opts := smallOptions(mem)
	opts.BallastBytes, opts.Logger = 1<<20, slog.New(slog.NewTextHandler(told, nil))
	s := open(t, "log", opts)
	s.disk.stop() // looks come when the test says
	at := func(percent uint64, want DiskLevel) {
		t.Helper()
		mem.TestingSetDiskUsage(usage(percent))
		s.disk.look()
		s.disk.look() // says nothing new
		if d := s.Disk(); d.Level != want || d.Free != (100-percent)<<30 || d.Total != 100<<30 {
			t.Fatalf("at %d %%: %+v, want %s", percent, d, want)
		}
	}
	add := func() error {
		_, err := s.Append(t.Context(), "agent-1", events.Any(), part("x", 1, 10)...)
		return err
	}
	if err := errors.Join(s.Admit(), add()); err != nil || !there(mem, ballastName) {
		t.Fatalf("a roomy disk: %v, ballast %v", err, there(mem, ballastName))
	}
	at(86, DiskFilling)
	if err := errors.Join(s.Admit(), add()); err != nil {
		t.Errorf("a filling disk: %v", err)
	}
	at(91, DiskLow)
	if err := s.Admit(); !errors.Is(err, events.ErrDiskLow) || !strings.Contains(err.Error(), "91.0 %") {
		t.Errorf("a low disk admits: %v", err)
	}
	if err := add(); err != nil || !there(mem, ballastName) {
		t.Errorf("a low disk: append %v, ballast %v", err, there(mem, ballastName))
	}
	at(96, DiskFull)
	if err := add(); !errors.Is(err, events.ErrDiskLow) || !errors.Is(err, events.ErrReadOnly) || there(mem, ballastName) {
		t.Errorf("a full disk: append %v, ballast %v", err, there(mem, ballastName))
	}
	if _, err := s.SetStreamMetadata(t.Context(), "agent-1", events.Any(), events.StreamMetadata{MaxCount: 1}); !errors.Is(err, events.ErrDiskLow) {
		t.Errorf("a full disk: metadata %v", err)
	}
	if s.ReadOnly() {
		t.Error("a full disk is told as a failed one")
	}
	at(92, DiskLow)
	if err := add(); err != nil || there(mem, ballastName) {
		t.Errorf("a low disk after a full one: append %v, ballast %v", err, there(mem, ballastName))
	}
	at(10, DiskRoomy)
	if err := errors.Join(s.Admit(), add()); err != nil || !there(mem, ballastName) {
		t.Errorf("a disk roomy again: %v, ballast %v", err, there(mem, ballastName))
	}
	for what, n := range map[string]int{"disk is filling": 1, "disk is low": 2, "disk is full": 1, "disk has room again": 1} {
		if got := told.about(what); got != n {
			t.Errorf("%q is logged %d times, want %d", what, got, n)
		}
	}
	for name, c := range map[string]<-chan struct{}{"rose": s.DiskRose(), "regained": s.Regained()} {
		select {
		case <-c:
		default:
			t.Errorf("%s holds no token", name)
		}
	}
}

// TestScavengeOnAFullDisk: what is hidden can be dropped, and its room comes
// back, when nothing else can be written.
func TestScavengeOnAFullDisk(t *testing.T) {
	mem := vfs.NewMem()
	mem.TestingSetDiskUsage(usage(10))
	s := open(t, "log", smallOptions(mem))
	s.disk.stop()
	for i := range 40 {
		if _, err := s.Append(t.Context(), "snapshot-1", events.Any(), part(fmt.Sprint(i), 1, 100_000)...); err != nil {
			t.Fatal(err)
		}
	}
	setMetadata(t, s, "snapshot-1", events.StreamMetadata{MaxCount: 1})
	if err := s.db.Flush(); err != nil {
		t.Fatal(err)
	}
	before := s.Stats().DiskBytes
	mem.TestingSetDiskUsage(usage(97))
	s.disk.look()
	done, err := s.Scavenge(t.Context(), ScavengeOptions{})
	if err != nil || done.Events != 39 {
		t.Fatalf("scavenged %+v, %v", done, err)
	}
	tables := int64(0)
	for _, level := range s.db.Metrics().Levels {
		tables += level.TablesSize
	}
	if tables > int64(before)/4 {
		t.Errorf("%d bytes of tables after the scavenge, %d bytes of log before", tables, before)
	}
	sound(t, s)
}

// TestFullDiskIsOpened: opening writes, so a ballast from before goes first; and
// a disk that has room gets a new one.
func TestFullDiskIsOpened(t *testing.T) {
	mem := vfs.NewMem()
	opts := smallOptions(mem)
	opts.BallastBytes = 1 << 20
	for _, c := range []struct {
		percent uint64
		want    bool
	}{{10, true}, {91, true}, {96, false}, {91, false}, {86, true}, {96, false}} {
		mem.TestingSetDiskUsage(usage(c.percent))
		s := open(t, "log", opts)
		if there(mem, ballastName) != c.want {
			t.Errorf("opened at %d %%: ballast %v, want %v", c.percent, !c.want, c.want)
		}
		if _, err := s.Append(t.Context(), "agent-1", events.Any(), part("x", 1, 10)...); (err == nil) != (c.percent < 95) {
			t.Errorf("opened at %d %%: append %v", c.percent, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	mem.TestingSetDiskUsage(usage(10))
	open(t, "log", opts).Close()
	opts.BallastBytes = 0
	open(t, "log", opts)
	if there(mem, ballastName) {
		t.Error("a ballast that is no longer wanted is kept")
	}
}

// TestBallastIsReal: the room is taken on a real disk and given back.
func TestBallastIsReal(t *testing.T) {
	dir := t.TempDir()
	b := ballast{fs: vfs.Default, dir: dir, size: 1 << 20}
	if err := b.take(); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, ballastName), &st); err != nil || st.Blocks*512 < b.size {
		t.Errorf("%d bytes are reserved, want %d: %v", st.Blocks*512, b.size, err)
	}
	if err := b.drop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, ballastName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after drop: %v", err)
	}
	if err := b.drop(); err != nil {
		t.Errorf("a second drop: %v", err)
	}
}

// TestBallastFails: without room, or a way, to reserve it the log works as ever,
// and nothing half made is left.
func TestBallastFails(t *testing.T) {
	for name, c := range map[string]struct {
		kinds []errorfs.OpKind
		err   error
		want  bool // it stands all the same
	}{
		"no space":             {[]errorfs.OpKind{errorfs.OpFilePreallocate}, syscall.ENOSPC, false},
		"no way to reserve":    {[]errorfs.OpKind{errorfs.OpFilePreallocate}, syscall.EOPNOTSUPP, true},
		"cannot be made":       {[]errorfs.OpKind{errorfs.OpCreate}, syscall.EACCES, false},
		"sync fails":           {[]errorfs.OpKind{errorfs.OpFileSync}, syscall.EIO, false},
		"cannot be cleared up": {[]errorfs.OpKind{errorfs.OpFilePreallocate, errorfs.OpRemove}, syscall.EIO, true},
	} {
		t.Run(name, func(t *testing.T) {
			mem := vfs.NewMem()
			mem.TestingSetDiskUsage(usage(10))
			hook := errorfs.InjectorFunc(func(op errorfs.Op) error {
				if strings.HasSuffix(op.Path, ballastName) && slices.Contains(c.kinds, op.Kind) {
					return c.err
				}
				return nil
			})
			told := new(lines)
			opts := smallOptions(errorfs.Wrap(mem, hook))
			opts.BallastBytes, opts.Logger = 3<<19, slog.New(slog.NewTextHandler(told, nil))
			s := open(t, "log", opts)
			if _, err := s.Append(t.Context(), "agent-1", events.Any(), part("x", 1, 10)...); err != nil {
				t.Errorf("append: %v", err)
			}
			s.disk.stop()
			s.disk.look()
			if there(mem, ballastName) != c.want {
				t.Errorf("ballast %v, want %v", !c.want, c.want)
			}
			if got, want := told.about("no ballast"), 1; (c.err != syscall.EOPNOTSUPP) && got != want {
				t.Errorf("the failure is logged %d times, want %d", got, want)
			}
		})
	}
}

// TestFreeSpaceUnknown: a system that does not tell refuses nothing.
func TestFreeSpaceUnknown(t *testing.T) {
	hook := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpGetDiskUsage {
			return syscall.EIO
		}
		return nil
	})
	told := new(lines)
	opts := smallOptions(errorfs.Wrap(vfs.NewMem(), hook))
	opts.Logger = slog.New(slog.NewTextHandler(told, nil))
	s := open(t, "log", opts)
	s.disk.stop()
	s.disk.look()
	if err := s.Admit(); err != nil || s.Disk() != (Disk{}) {
		t.Errorf("%+v, %v", s.Disk(), err)
	}
	if n := told.about("free space unknown"); n != 1 {
		t.Errorf("told %d times, want once", n)
	}
}

// TestDiskIsWatched: enough bytes written make a look due.
func TestDiskIsWatched(t *testing.T) {
	mem := vfs.NewMem()
	mem.TestingSetDiskUsage(usage(10))
	s := open(t, "log", smallOptions(mem))
	mem.TestingSetDiskUsage(usage(96))
	big := part("x", 1, 1_000_000)[0]
	for range 2*diskEveryBytes/len(big.Data) + 1 {
		big.ID = events.NewEventID()
		if _, err := s.Append(t.Context(), "agent-1", events.Any(), big); errors.Is(err, events.ErrDiskLow) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	<-s.DiskRose()
	if d := s.Disk(); d.Level != DiskFull {
		t.Errorf("%+v", d)
	}
}
