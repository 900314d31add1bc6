package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
)

// appendTo opens the engine in dir, appends one event, and returns how many are in its
// stream after that. The engine is closed.
func appendTo(t *testing.T, dir string, bootstrap bool) (held int) {
	t.Helper()
	opts := pebblestore.DefaultOptions()
	opts.BallastBytes = 0
	s, err := openEngine(t.Context(), dir, bootstrap, opts)
	if err != nil {
		t.Fatal(err)
	}
	ev := events.Event{ID: events.NewEventID(), Type: "Tested", ContentType: events.JSON, Data: []byte(`{}`)}
	r, err := s.Append(t.Context(), "agent-1", events.Any(), ev)
	if err = errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	return int(r.Last) + 1
}

// TestGroupLeavesOthersFiles has a file of an operator's in the data directory, with a name
// that ends as the engine's do: it outlasts each start.
func TestGroupLeavesOthersFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "server.log")
	if err := os.WriteFile(path, []byte("what the server said\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bootstrap := range []bool{false, true, true, false} { // alone, then as a group
		appendTo(t, dir, bootstrap)
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("it is gone after a start with --bootstrap %t", bootstrap)
		}
	}
}
