package pebblestore

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/caxton-run/caxton/events"
)

// cutter keeps what a disk would have kept if the power had been cut at its nth change.
type cutter struct {
	mu   sync.Mutex // guards what follows
	disk *vfs.MemFS
	left int
	kept *vfs.MemFS // nil until then
}

func (c *cutter) inject(op errorfs.Op) error {
	switch op.Kind.ReadOrWrite() {
	case errorfs.OpIsRead:
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left--; c.left > 0 {
		return nil
	}
	if c.kept == nil {
		c.kept = c.disk.CrashClone(vfs.CrashCloneCfg{})
	}
	return nil
}

// TestRelocateCutShort cuts the power at every change of the disk while a log is moved.
// The log is in one place or the other, whole, and the next attempt moves it.
func TestRelocateCutShort(t *testing.T) {
	const to = "log/log"
	cuts, done := 0, false
	for n := 1; !done; n++ {
		mem := vfs.NewCrashableMem()
		s, err := Open("log", smallOptions(mem))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			if _, err := s.Append(t.Context(), "agent-1", events.Any(), part(fmt.Sprint(i), 1, 1)...); err != nil {
				t.Fatal(err)
			}
		}
		root := s.Root()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		c := &cutter{disk: mem, left: n}
		o := smallOptions(errorfs.Wrap(mem, errorfs.InjectorFunc(c.inject)))
		if err := Relocate("log", to, o); err != nil {
			t.Fatal(err)
		}
		c.mu.Lock()
		disk := c.kept
		c.mu.Unlock()
		if done = disk == nil; done {
			disk = mem
		} else {
			cuts++
		}
		o = smallOptions(disk)
		if err := Relocate("log", to, o); err != nil {
			t.Fatalf("cut %d: moved again: %v", n, err)
		}
		moved, err := Open(to, o)
		if err != nil {
			t.Fatalf("cut %d: %v", n, err)
		}
		if moved.Root() != root {
			t.Errorf("cut %d: %s, want %s", n, moved.Root(), root)
		}
		if err := moved.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := Open("log", o); !errors.Is(err, events.ErrCorrupt) {
			t.Fatalf("cut %d: a new log where one was: %v", n, err)
		}
	}
	if cuts < 10 {
		t.Errorf("%d cuts: the test shows little", cuts)
	}
}

// TestRelocateLeavesOthersFiles has files beside a log that are not the engine's, with
// names like those: a log begins and moves there, and each stays where it was.
func TestRelocateLeavesOthersFiles(t *testing.T) {
	const to = "log/log"
	mem := vfs.NewMem()
	o := smallOptions(mem)
	others := []string{"server.log", "old.sst", "000001x.sst", "photo.blob", "MANIFEST-old", "OPTIONS-mine"}
	if err := mem.MkdirAll("log", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, n := range others {
		if err := writeSynced(mem, "log/"+n, []byte("not the engine's")); err != nil {
			t.Fatal(err)
		}
	}
	if err := Relocate("log", to, o); err != nil {
		t.Fatalf("without a log: %v", err)
	}
	s, err := Open("log", o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // as at each start
		if err := Relocate("log", to, o); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range others {
		if _, err := mem.Stat("log/" + n); err != nil {
			t.Errorf("%s is gone: %v", n, err)
		}
		if _, err := mem.Stat(to + "/" + n); err == nil {
			t.Errorf("%s is in the log", n)
		}
	}
	if s, err = Open(to, o); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
