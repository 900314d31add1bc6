package raftstore

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/segment"

	"github.com/caxton-run/caxton/events"
)

func openTestLogs(t *testing.T, fs vfs.FS) (*logs, error) {
	t.Helper()
	o := smallOptions(fs).withDefaults()
	return openLogs(fs, "raft", o, func(why string) { t.Log("fatal:", why) })
}

// store appends entries first to last of a term.
func store(t *testing.T, l *logs, term, first, last uint64) {
	t.Helper()
	for i := first; i <= last; i++ {
		e := &raft.Log{Index: i, Term: term, Type: raft.LogCommand, Data: fmt.Appendf(nil, "entry %d of term %d", i, term)}
		if err := l.StoreLog(e); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCutLogIsReadAgain cuts the end of a log off, writes it anew and opens it
// again, with more files each time. raft-wal v0.4.0 notes the file that was cut as
// one with an index, which it has not (hashicorp/raft-wal#31).
func TestCutLogIsReadAgain(t *testing.T) {
	fs := vfs.NewCrashableMem()
	want := make(map[uint64]uint64) // term by index
	for term := uint64(1); term < 6; term++ {
		l, err := openTestLogs(t, fs)
		if err != nil {
			t.Fatal(err)
		}
		last, err := l.LastIndex()
		if err != nil {
			t.Fatal(err)
		}
		for i := uint64(1); i <= last; i++ {
			var e raft.Log
			if err := l.GetLog(i, &e); err != nil || e.Term != want[i] {
				t.Fatalf("term %d: entry %d is of term %d, %v; want %d", term, i, e.Term, err, want[i])
			}
		}
		first := last + 1
		if last > 3 {
			first = last - 2
			if err := l.DeleteRange(first, last); err != nil {
				t.Fatal(err)
			}
		}
		store(t, l, term, first, first+7)
		for i := first; i <= first+7; i++ {
			want[i] = term
		}
		if err := l.close(); err != nil {
			t.Fatal(err)
		}
		fs = fs.CrashClone(vfs.CrashCloneCfg{})
	}
}

// TestLogDamageIsNamed flips a bit in, cuts, or removes every file of a raft log:
// opening or reading it names what is wrong, or nothing is.
func TestLogDamageIsNamed(t *testing.T) {
	disk := vfs.NewCrashableMem()
	l, err := openTestLogs(t, disk)
	if err != nil {
		t.Fatal(err)
	}
	store(t, l, 1, 1, 20)
	if err := l.SetUint64([]byte("CurrentTerm"), 7); err != nil {
		t.Fatal(err)
	}
	if err := l.close(); err != nil { // which syncs all of it
		t.Fatal(err)
	}
	fresh := func() *vfs.MemFS { return disk.CrashClone(crashAll()) }
	// whole reports the first thing that is not as it was written.
	whole := func(fs vfs.FS) (err error) {
		l, err := openTestLogs(t, fs)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, l.close()) }()
		if term, err := l.GetUint64([]byte("CurrentTerm")); err != nil || term != 7 {
			return fmt.Errorf("SILENT: term is %d, %v", term, err)
		}
		if last, err := l.LastIndex(); err != nil || last != 20 {
			return fmt.Errorf("SILENT: last entry is %d, %v", last, err)
		}
		for i := uint64(1); i <= 20; i++ {
			var e raft.Log
			if err := l.read(i, &e); err != nil {
				return err
			}
			if want := fmt.Sprintf("entry %d of term 1", i); string(e.Data) != want {
				return fmt.Errorf("SILENT: entry %d holds %q", i, e.Data)
			}
		}
		return nil
	}
	if err := whole(fresh()); err != nil {
		t.Fatal(err)
	}
	names, err := fresh().List("raft")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range names {
		path := "raft/" + name
		info, err := fresh().Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		for at := int64(0); at < info.Size(); at += 1 + info.Size()/97 {
			fs := fresh()
			flip(t, fs, path, at)
			err := whole(fs)
			if err != nil && strings.Contains(err.Error(), "SILENT") {
				t.Errorf("%s, bit at %d of %d: %v", name, at, info.Size(), err)
			}
			if err != nil {
				found++
			}
		}
		if name == markName {
			continue // no fault of the log
		}
		fs := fresh()
		if err := fs.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := whole(fs); err == nil || strings.Contains(err.Error(), "SILENT") {
			t.Errorf("%s removed: %v", name, err)
		}
	}
	if found < 50 {
		t.Errorf("only %d flipped bits were found", found)
	}
}

// TestLogRefusesWhatCameToHarm stores an entry whose bytes changed on the way.
func TestLogRefusesWhatCameToHarm(t *testing.T) {
	l, err := openTestLogs(t, vfs.NewMem())
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	store(t, l, 1, 1, 1)
	var e raft.Log
	if err := l.GetLog(1, &e); err != nil {
		t.Fatal(err)
	}
	e.Index = 2
	if err := l.StoreLog(&e); !errors.Is(err, events.ErrCorrupt) {
		t.Errorf("an entry with another's checksum: %v", err)
	}
}

// TestShortFileIsDamage cuts files that are sealed, at every length: reading what they
// held names damage, where raft-wal only comes to the end of a file.
func TestShortFileIsDamage(t *testing.T) {
	disk := vfs.NewCrashableMem()
	l, err := openTestLogs(t, disk)
	if err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte("x"), 100<<10) // more than raft-wal reads at a time
	for i := uint64(1); i <= 4; i++ {
		if err := l.StoreLog(&raft.Log{Index: i, Term: 1, Type: raft.LogCommand, Data: data}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	state, _, _, err := (&metaStore{fs: disk}).read("raft")
	if err != nil || len(state.Segments) < 2 {
		t.Fatalf("%d files, %v", len(state.Segments), err)
	}
	info := state.Segments[0]
	path := "raft/" + segment.FileName(info)
	b := contentOf(t, disk, path)
	for keep := 0; keep < int(info.IndexStart); keep += 10 << 10 {
		short := disk.CrashClone(vfs.CrashCloneCfg{})
		replace(t, short, path, b[:keep])
		l, err := openTestLogs(t, short)
		if err == nil {
			for i := info.BaseIndex; i <= info.MaxIndex && err == nil; i++ {
				err = l.read(i, &raft.Log{})
			}
			l.close()
		}
		if !errors.Is(err, events.ErrCorrupt) {
			t.Errorf("a file of %d bytes, cut to %d: %v, want damage", len(b), keep, err)
		}
		var faults []error
		x := &examination{ctx: t.Context(), fs: short, log: slog.New(slog.DiscardHandler), report: func(err error) { faults = append(faults, err) }}
		if err := x.entries(); err != nil || len(faults) == 0 {
			t.Errorf("Examine of a file cut to %d: %d faults, %v", keep, len(faults), err)
		}
	}
}
