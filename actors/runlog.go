package actors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/caxton-run/caxton/events"
	"github.com/google/uuid"
)

// Bounds of the record of what runs.
const (
	runSlots    = 4096 // runs that can be named at once; what runs beyond them is not
	runSlotSize = 64   // a slot never crosses a page, so no write of one is torn by the process's end
	maxSuspects = 4096 // runs remembered from unclean ends, the newest
)

// runSlotUsed is the length of what a slot says: agent, message, kind, and the CRC-32C
// of these.
const (
	runSlotSums = 16 + 16 + 4 // of which kind is the first byte of the last four
	runSlotUsed = runSlotSums + 4
)

// runHead is the first slot of the file.
const runHead = "caxton: messages that are running, version 2\n"

// RunKind says what a guest is made to do.
type RunKind string

// What guests are made to do.
const (
	RunMessage   RunKind = "message"
	RunWake      RunKind = "wake"      // be what its history made it
	RunMigration RunKind = "migration" // of the agent's state to a new module
)

// runKinds is how kinds stand in a slot, for ever: by their place.
func runKinds() []RunKind { return []RunKind{RunMessage, RunWake, RunMigration} }

// guestRun names one run, the same after the process's end.
type guestRun struct {
	agent events.AgentID
	kind  RunKind
	id    events.MessageID // of a message; of a migration, what stands for its module; of a wake zero
}

func messageRun(to events.AgentID, id events.MessageID) guestRun {
	return guestRun{to, RunMessage, id}
}

func wakeRun(of events.AgentID) guestRun { return guestRun{agent: of, kind: RunWake} }

func migrationRun(of events.AgentID, to events.ModuleHash) guestRun {
	return guestRun{of, RunMigration, events.MessageID(uuid.NewSHA1(uuid.UUID(of), []byte(to)))}
}

// RunLog names what guests are being made to do, in a file that outlives the process:
// the next start knows what was under way when it ended uncleanly. A run that stands
// there again and again may be what ends the process, and is not begun once more.
//
// The file is written on every run and not synced: what a process wrote survives its
// end in the kernel, whatever it ended of. Only the machine's own end loses it, and
// that is no guest's doing. What a start finds is synced before the file is emptied.
//
// All methods may be called from any goroutine. A nil *RunLog records nothing.
type RunLog struct {
	file     *os.File
	known    string      // path of the suspects' file
	doubtful atomic.Bool // there are suspects
	found    []Suspect   // those that this start found under way

	mu       sync.Mutex // guards below
	free     []int32    // slots
	suspects []Suspect  // the oldest first
	behind   bool       // their file has some that were cleared
}

// Suspect is a run that was under way when the process ended uncleanly.
type Suspect struct {
	Agent   events.AgentID   `json:"agent"`
	Kind    RunKind          `json:"kind"`
	Message events.MessageID `json:"message"` // of a migration, a name for its module; of a wake zero
	Strikes int              `json:"strikes"` // unclean ends in a row while it ran, from 1
}

func (s *Suspect) is(r guestRun) bool {
	return s.Agent == r.agent && s.Kind == r.kind && s.Message == r.id
}

// OpenRunLog reads what the last process left at path, and begins anew. What it had
// been running is in Found, and among Suspects. Close it.
func OpenRunLog(path string) (*RunLog, error) {
	l := &RunLog{known: path + ".suspects"}
	if err := l.recall(path); err != nil {
		return nil, fmt.Errorf("record of running messages: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("record of running messages: %w", err)
	}
	empty := make([]byte, (1+runSlots)*runSlotSize) // whole, so that no later write needs room on the disk
	copy(empty, runHead)
	_, err = f.WriteAt(empty, 0)
	if err := errors.Join(err, f.Sync()); err != nil {
		return nil, errors.Join(fmt.Errorf("record of running messages: %w", err), f.Close())
	}
	l.file = f
	for i := int32(runSlots); i > 0; i-- {
		l.free = append(l.free, i)
	}
	l.doubtful.Store(len(l.suspects) > 0)
	return l, nil
}

// recall reads suspects of old and the runs that stand in the file, and writes them
// down together.
func (l *RunLog) recall(path string) error {
	if b, err := os.ReadFile(l.known); err == nil {
		_ = json.Unmarshal(b, &l.suspects) // one that cannot be read accuses nobody
		for i := range l.suspects {
			l.suspects[i].Kind = cmp.Or(l.suspects[i].Kind, RunMessage) // once there was no other
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	standing, err := readRuns(path)
	if err != nil || len(standing) == 0 {
		return err
	}
	for _, s := range standing {
		one := guestRun{s.Agent, s.Kind, s.Message}
		i := slices.IndexFunc(l.suspects, func(o Suspect) bool { return o.is(one) })
		if i >= 0 {
			s.Strikes = l.suspects[i].Strikes + 1
			l.suspects = slices.Delete(l.suspects, i, i+1)
		}
		l.suspects, l.found = append(l.suspects, s), append(l.found, s)
	}
	l.suspects = l.suspects[max(0, len(l.suspects)-maxSuspects):]
	return l.writeSuspects()
}

func (l *RunLog) writeSuspects() error {
	b, err := json.Marshal(l.suspects)
	if err != nil {
		return err
	}
	return replaceFile(l.known, b)
}

// readRuns returns the runs that a file names, each as its first strike.
func readRuns(path string) ([]Suspect, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, (1+runSlots)*runSlotSize))
	if err != nil || !bytes.HasPrefix(b, []byte(runHead)) {
		return nil, err // of another version, or half made: it accuses nobody
	}
	var list []Suspect
	for at := runSlotSize; at+runSlotSize <= len(b); at += runSlotSize {
		slot := b[at : at+runSlotUsed]
		kinds, kind := runKinds(), int(slot[32])
		if binary.LittleEndian.Uint32(slot[runSlotSums:]) != crc32.Checksum(slot[:runSlotSums], castagnoli()) || kind >= len(kinds) {
			continue // an empty slot, too
		}
		s := Suspect{Strikes: 1, Kind: kinds[kind]}
		copy(s.Agent[:], slot)
		copy(s.Message[:], slot[16:])
		list = append(list, s)
	}
	return list, nil
}

// castagnoli returns the one table of CRC-32C, which crc32 makes once.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// replaceFile writes a file that is there whole or as it was, after a power cut too.
func replaceFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Found returns what was under way when the last process ended: none after a clean end,
// whatever is suspected since earlier ones.
func (l *RunLog) Found() []Suspect { return slices.Clone(l.found) }

// Suspects returns what was under way at unclean ends, the oldest first.
func (l *RunLog) Suspects() []Suspect {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.suspects)
}

// Close gives the file back. What still runs stays named; what was cleared is gone from
// the suspects' file too.
func (l *RunLog) Close() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.behind {
		_ = l.writeSuspects() // failing is no harm: see clears
		l.behind = false
	}
	return l.file.Close()
}

// take returns a slot, or 0 when none is free.
func (l *RunLog) take() int32 {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.free)
	if n == 0 {
		return 0
	}
	slot := l.free[n-1]
	l.free = l.free[:n-1]
	return slot
}

// name says in a slot what runs. Failing is no harm but to the next start's
// knowledge: a disk that fails to take it fails the log as well.
func (l *RunLog) name(slot int32, r guestRun) {
	if l == nil || slot == 0 {
		return
	}
	var b [runSlotUsed]byte
	copy(b[:], r.agent[:])
	copy(b[16:], r.id[:])
	b[32] = byte(slices.Index(runKinds(), r.kind))
	binary.LittleEndian.PutUint32(b[runSlotSums:], crc32.Checksum(b[:runSlotSums], castagnoli()))
	_, _ = l.file.WriteAt(b[:], int64(slot)*runSlotSize)
}

// give empties a slot and gives it back; 0 is none.
func (l *RunLog) give(slot int32) {
	if l == nil || slot == 0 {
		return
	}
	var b [runSlotUsed]byte
	b[runSlotSums] = 1 // zeros are not the checksum of zeros, but do not rely on it
	_, _ = l.file.WriteAt(b[:], int64(slot)*runSlotSize)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free = append(l.free, slot)
}

// strikes is how often in a row the process ended uncleanly during a run.
func (l *RunLog) strikes(r guestRun) int {
	if l == nil || !l.doubtful.Load() {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.suspects {
		if l.suspects[i].is(r) {
			return l.suspects[i].Strikes
		}
	}
	return 0
}

// clears takes a run from the suspects: it came to its end, and the process lives. A
// message is not run again, so its file is spared a sync and has it until Close; what may
// be is taken from it at once, or a strike of old would count as one in a row. Failing is
// no harm but that.
func (l *RunLog) clears(r guestRun) {
	if l == nil || !l.doubtful.Load() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	before := len(l.suspects)
	l.suspects = slices.DeleteFunc(l.suspects, func(s Suspect) bool { return s.is(r) })
	l.doubtful.Store(len(l.suspects) > 0)
	switch {
	case len(l.suspects) == before:
	case r.kind == RunMessage:
		l.behind = true
	default:
		l.behind = l.writeSuspects() != nil
	}
}
