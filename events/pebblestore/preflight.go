package pebblestore

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/caxton-run/caxton/events"
)

// manifestMarker begins the name of the empty file that names the MANIFEST in
// use.
const manifestMarker = "marker.manifest."

// hasMarker looks whether a directory says which MANIFEST lists its tables. One
// that has tables or write-ahead logs and does not say it Pebble would take for a
// new one, and remove all it finds. A directory whose making was cut short has
// neither: the marker comes before both.
func hasMarker(fsys vfs.FS, dir string) (bool, error) {
	names, err := fsys.List(dir)
	if err != nil {
		return false, err
	}
	files := 0
	for _, n := range names {
		switch {
		case strings.HasPrefix(n, manifestMarker):
			return true, nil
		case n == movedName, isNumbered(n, ".sst", ".log"):
			files++
		}
	}
	if files == 0 {
		return false, nil
	}
	return false, &events.CorruptError{
		Where:  "file " + manifestMarker + "*",
		Reason: fmt.Sprintf("is missing beside %d tables and write-ahead logs", files),
	}
}

// openError tells damage from a disk or a system that fails. Pebble marks only
// some damage as such: a file that is missing, or of another size than the
// MANIFEST says, comes as any other error.
func openError(err error) error {
	var sys syscall.Errno
	switch {
	case errors.As(err, &sys) && sys != syscall.ENOENT,
		errors.Is(err, fs.ErrPermission),
		strings.Contains(err.Error(), "format major version"): // of a newer program
		return translate("data directory", err)
	}
	return &events.CorruptError{Where: "data directory", Reason: err.Error()}
}
