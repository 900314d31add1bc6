package pebblestore

import (
	"errors"
	"fmt"
	"io/fs"
	"math"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/caxton-run/caxton/events"
)

// The notes are the small files beside the log, "durable" and "seals", that say
// what Pebble's own files must hold. A log without them is one from before there
// were notes, or one that somebody took them from. So once both are made, whole
// and synced, the log itself says so under kindNoted; from then on they are only
// overwritten in place, and one that is missing or of another length is damage.
// One that does not read is not: it is written without a sync, so a power cut
// may tear it.
const notedVersion = 1

// checkNotes looks for the notes of a log that says it has them.
func checkNotes(fsys vfs.FS, dir string) error {
	for _, note := range []struct {
		name string
		size int64
	}{{lowWaterName, lowWaterSize}, {sealsName, sealsSize}} {
		at, err := fsys.Stat(fsys.PathJoin(dir, note.name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return &events.CorruptError{Where: "file " + note.name, Reason: "is missing"}
		case err != nil:
			return err
		case at.Size() != note.size:
			return &events.CorruptError{
				Where:  "file " + note.name,
				Reason: fmt.Sprintf("has %d bytes, must have %d", at.Size(), note.size),
			}
		}
	}
	return nil
}

// makeNotes makes the notes of a log whose next position is durable, and lets
// the log say so. A disk that refuses them is no fault of the log: it goes on
// without, and the next Open tries again.
func (s *Store) makeNotes(sealed *seals, next events.Position) error {
	sealed.mu.Lock()
	err := writeNotes(s.fs, s.dir, next, sealed.encode())
	sealed.mu.Unlock()
	if err != nil {
		s.log.Warn("notes beside the log not made: if they go missing nobody will know", "err", err)
		return nil
	}
	if err := s.db.Set(notedKey(), []byte{notedVersion}, pebble.Sync); err != nil {
		return fmt.Errorf("store that there are notes beside the log: %w", err)
	}
	return nil
}

// writeNotes writes and syncs both files and their directory.
func writeNotes(fsys vfs.FS, dir string, next events.Position, sealed []byte) error {
	var mark [lowWaterSize]byte
	encodeLowWater(mark[:], next)
	return errors.Join(
		writeSynced(fsys, fsys.PathJoin(dir, lowWaterName), mark[:]),
		writeSynced(fsys, fsys.PathJoin(dir, sealsName), sealed),
		syncDir(fsys, dir),
	)
}

func writeSynced(fsys vfs.FS, path string, b []byte) error {
	f, err := fsys.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

// noteCopy makes the notes of a copy that ends at next or beyond.
func noteCopy(fsys vfs.FS, dir string, next events.Position) error {
	names, err := fsys.List(dir)
	if err != nil {
		return err
	}
	var list []seal
	for _, prefix := range []string{manifestPrefix, optionsPrefix} {
		one, err := sealOf(fsys, dir, newest(names, prefix), math.MaxInt64)
		if err != nil {
			return err
		}
		list = append(list, one)
	}
	return writeNotes(fsys, dir, next, encodeSeals(list...))
}

// isNoted reads what the tables of a log say about its notes.
func isNoted(db pebble.Reader) (bool, error) {
	_, closer, err := db.Get(notedKey())
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, translate("notes", err)
	}
	return true, closer.Close()
}
