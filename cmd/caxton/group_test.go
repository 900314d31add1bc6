package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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

// TestGroupWithoutItsLog takes the log of a group away, as a power cut does while another
// takes its place: the directory is the group's all the same. Commands that look at it name
// what is missing, and the next start, with the switch or without it, has every event.
func TestGroupWithoutItsLog(t *testing.T) {
	dir := t.TempDir()
	held := appendTo(t, dir, true)
	path := filepath.Join(dir, "log")
	for _, bootstrap := range []bool{false, true} {
		if err := os.RemoveAll(path + ".old"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path, path+".old"); err != nil {
			t.Fatal(err)
		}
		before := treeOf(t, dir)
		var out bytes.Buffer
		a := &app{stdout: &out, stderr: &out, output: "table", now: time.Now}
		for what, err := range map[string]error{
			"stat": a.statLog(t.Context(), dir), "verify": a.verifyLog(t.Context(), dir, true, false),
		} {
			if exitCode(err) != exitFailed || !strings.Contains(err.Error(), "its log is missing: "+path) {
				t.Errorf("log %s: %v", what, err)
			}
		}
		d := doctor{dir: dir}
		if f := d.directory(t.Context()); f.Status != checkFail || !strings.Contains(f.Measured, path) {
			t.Errorf("doctor: %+v", f)
		}
		if treeOf(t, dir) != before {
			t.Error("a look at the directory changed it")
		}
		if held++; appendTo(t, dir, bootstrap) != held {
			t.Errorf("with --bootstrap %t: not all of %d events", bootstrap, held)
		}
	}
	if names, err := filepath.Glob(filepath.Join(dir, "MANIFEST-*")); err != nil || len(names) != 0 {
		t.Errorf("another log was begun: %v, %v", names, err)
	}
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

// TestFatalIsTold: what ends the engine under a command is told before the program ends.
func TestFatalIsTold(t *testing.T) {
	var told bytes.Buffer
	code := -1
	a := &app{stderr: &told, exit: func(c int) { code = c }}
	a.stoppedLog().Fatal("the disk failed")
	if told.String() != "caxton: the disk failed\n" || code != exitFailed {
		t.Errorf("%q, exit code %d", told.String(), code)
	}
}
