package raftstore

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/types"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
)

// cutLog makes a raft log of files that are full, whose end was cut off, and that are
// still written to.
func cutLog(t *testing.T) *vfs.MemFS {
	t.Helper()
	disk := vfs.NewCrashableMem()
	o := smallOptions(disk).withDefaults()
	o.SegmentBytes = 4096
	for term := range uint64(3) {
		l, err := openLogs(disk, raftDir, o, func(why string) { t.Error(why) })
		if err != nil {
			t.Fatal(err)
		}
		last, err := l.LastIndex()
		if err != nil {
			t.Fatal(err)
		}
		if last > 10 {
			if err := l.DeleteRange(last-10, last); err != nil {
				t.Fatal(err)
			}
			last -= 11
		}
		store(t, l, term+1, last+1, last+70)
		if err := l.close(); err != nil {
			t.Fatal(err)
		}
	}
	return disk
}

// examineEntries looks at a raft log alone.
func examineEntries(t *testing.T, disk vfs.FS) (faults []error) {
	t.Helper()
	x := newExamination(t.Context(), "", pebblestore.Options{FS: disk}, func(err error) { faults = append(faults, err) })
	x.out.Applied = 1000 // what the entries say is no event
	if err := x.entries(); err != nil {
		t.Fatal(err)
	}
	return faults
}

// TestFramesOfEveryFile flips a bit of each file of a log in places all over it that
// were not cut off: each is a fault that names the file or the entry.
func TestFramesOfEveryFile(t *testing.T) {
	disk := cutLog(t)
	if faults := examineEntries(t, disk); len(faults) > 0 {
		t.Fatalf("sound: %v", faults[0])
	}
	names, err := disk.List(raftDir)
	if err != nil {
		t.Fatal(err)
	}
	files, silent := 0, 0
	for _, name := range names {
		if !strings.HasSuffix(name, ".wal") {
			continue
		}
		files++
		path := raftDir + "/" + name
		b := contentOf(t, disk, path)
		for i := 0; i < len(bytes.TrimRight(b, "\x00")); i += 7 {
			b[i] ^= 0x04
			replace(t, disk, path, b)
			b[i] ^= 0x04
			faults := examineEntries(t, disk)
			if len(faults) == 0 {
				silent++
			} else if why := faults[0].Error(); !errors.Is(faults[0], events.ErrCorrupt) || !strings.Contains(why, "raft") {
				t.Errorf("byte %d of %s: %s", i, name, why)
			}
		}
		replace(t, disk, path, b)
	}
	// Of two cuts, eleven entries each, what was cut off is not looked at.
	if cut := 2 * 11 * 120 / 7; files < 4 || silent > cut {
		t.Errorf("%d files, %d flipped bits are not noticed: more than the %d that were cut off", files, silent, cut)
	}
}

// TestGarbageIsNamed writes over an entry what no codec makes: reading it is a fault with
// a name, and no more.
func TestGarbageIsNamed(t *testing.T) {
	for _, garbage := range []string{strings.Repeat("\xff", 40), strings.Repeat("\x80", 40), strings.Repeat("\x00", 40)} {
		disk := vfs.NewCrashableMem()
		l, err := openTestLogs(t, disk)
		if err != nil {
			t.Fatal(err)
		}
		store(t, l, 1, 1, 3)
		if err := l.close(); err != nil {
			t.Fatal(err)
		}
		path := findFile(t, disk, raftDir+"/.wal")
		b := contentOf(t, disk, path)
		copy(b[walHeader+walFrame:], garbage)
		replace(t, disk, path, b)
		if l, err = openTestLogs(t, disk); err != nil {
			t.Fatal(err)
		}
		var e raft.Log
		if err := l.GetLog(1, &e); !errors.Is(err, events.ErrCorrupt) || !strings.Contains(err.Error(), "raft entry 1") {
			t.Errorf("%x: %v", garbage[:1], err)
		}
		if err := l.GetLog(2, &e); err != nil {
			t.Error(err)
		}
		if err := l.close(); err != nil {
			t.Error(err)
		}
	}
}

// TestTimeStays reads an entry that a leader has dated: no checksum covers the time, so
// it goes to nobody.
func TestTimeStays(t *testing.T) {
	l, err := openTestLogs(t, vfs.NewMem())
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	if err := l.StoreLog(&raft.Log{Index: 1, Term: 1, AppendedAt: time.Unix(1, 0)}); err != nil {
		t.Fatal(err)
	}
	var e raft.Log
	if err := l.GetLog(1, &e); err != nil || !e.AppendedAt.IsZero() {
		t.Errorf("appended at %v, %v", e.AppendedAt, err)
	}
}

func FuzzCoded(f *testing.F) {
	var b bytes.Buffer
	if err := (&wal.BinaryCodec{}).Encode(&raft.Log{Index: 300, Term: 2, Data: []byte("data"), Extensions: []byte("1234")}, &b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(bytes.Repeat([]byte{0xff}, 40))
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := checkCoded(b); err != nil {
			if !errors.Is(err, types.ErrCorrupt) {
				t.Errorf("%x: %v", b, err)
			}
			return
		}
		var e raft.Log
		if err := (&wal.BinaryCodec{}).Decode(b, &e); err != nil {
			t.Errorf("%x: %v", b, err)
		}
	})
}

func FuzzFrames(f *testing.F) {
	f.Add(make([]byte, walHeader+2*walFrame), uint64(1), uint64(2))
	f.Add(append(make([]byte, walHeader), frameEntry, 0, 0, 0, 1, 0, 0, 0, 'x', 0, 0, 0, 0, 0, 0, 0, frameCommit, 0, 0, 0), uint64(1), uint64(1))
	f.Fuzz(func(t *testing.T, b []byte, base, last uint64) {
		err := checkFrames(bytes.NewReader(b), base, last)
		if err != nil && !errors.Is(err, types.ErrCorrupt) {
			t.Errorf("%x: %v", b, err)
		}
		if err == nil && base <= last && len(b) < walHeader+2*walFrame {
			t.Errorf("%x is sound up to entry %d", b, last)
		}
	})
}
