package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestKillGroup takes the log of a node that ran alone into a group of one, and kills
// the server again and again while writers send to counters: with the switch and
// without it, for a group stays one. Each acknowledged message has counted once, from
// before the change too. The commands that look at a stopped node's log find it.
func TestKillGroup(t *testing.T) {
	k := startKilling(t)
	p, client, counters, writers := k.p, k.client, k.counters, k.writers
	for i := range killsOf(killsLong / 2) {
		writers.progress(t, 20+k.chance.Int64N(40))
		p.killUnsuspected()
		p.flags = nil
		if i%2 == 0 { // the first of all
			p.flags = []string{"--bootstrap"}
		}
		p.start()
	}
	p.ready(client)
	writers.progress(t, 20)
	p.kill()
	checkKilledGroup(t, p.dir, uint64(writers.acked.Load()))
	p.start()
	p.ready(client)
	k.stop()
	for i, name := range counters {
		writers.check(t, client, i, name)
	}
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := p.wait(); err != nil {
		t.Fatal(err)
	}
	if names, err := filepath.Glob(filepath.Join(p.dir, "MANIFEST-*")); err != nil || len(names) != 0 {
		t.Errorf("a second log is where the first was: %v, %v", names, err)
	}
	var stat census
	if err := json.Unmarshal(command(t, "log", "stat", "-o", "json", "--data-dir", p.dir), &stat); err != nil {
		t.Fatal(err)
	}
	if acked := writers.acked.Load(); stat.Events < uint64(acked) {
		t.Errorf("log stat counts %d events after %d messages", stat.Events, acked)
	}
	command(t, "log", "verify", "--deep", "--data-dir", p.dir)
	if out := string(command(t, "doctor", "--data-dir", p.dir)); !strings.Contains(out, " events, ") {
		t.Errorf("doctor does not count the events of a group's log:\n%s", out)
	}
}

// checkKilledGroup looks at the log of a group whose server was killed: what its state
// does not hold is in the replicated log, and is counted there. Nothing is changed by
// that, and a flipped bit in it is a fault with a place.
func checkKilledGroup(t *testing.T, dir string, acked uint64) {
	t.Helper()
	before := treeOf(t, dir)
	var stat census
	if err := json.Unmarshal(command(t, "log", "stat", "-o", "json", "--data-dir", dir), &stat); err != nil {
		t.Fatal(err)
	}
	if r := stat.Replicated; r == nil || r.Entries == 0 || r.Last != r.Applied+r.Beyond || stat.Events+r.Events < acked {
		t.Errorf("log stat of %d events after %d messages, and of the replicated log %+v", stat.Events, acked, r)
	}
	command(t, "log", "verify", "--deep", "--data-dir", dir)
	if after := treeOf(t, dir); after != before {
		t.Error("log stat or log verify changed the data directory")
	}
	flipped := t.TempDir()
	if err := os.CopyFS(flipped, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(flipped, "raft", "*.wal"))
	if err != nil || len(files) == 0 {
		t.Fatalf("files of the raft log: %v, %v", files, err)
	}
	last := files[len(files)-1]
	b, err := os.ReadFile(last)
	if err != nil {
		t.Fatal(err)
	}
	end := bytes.LastIndexFunc(b, func(r rune) bool { return r != 0 })
	b[end/2] ^= 1
	if err := os.WriteFile(last, b, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("caxton", "log", "verify", "--data-dir", flipped).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "fault: ") || !strings.Contains(string(out), "raft") {
		t.Errorf("log verify of a raft log with a flipped bit: %v\n%s", err, out)
	}
}

// treeOf is a sum over the names, lengths and contents of all files in a directory.
func treeOf(t *testing.T, dir string) [sha256.Size]byte {
	t.Helper()
	sum := sha256.New()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		fmt.Fprintf(sum, "%s %d\n%s", path, len(b), b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return [sha256.Size]byte(sum.Sum(nil))
}

// command runs the program and returns what it prints.
func command(t *testing.T, args ...string) []byte {
	t.Helper()
	out, err := exec.Command("caxton", args...).Output()
	if err != nil {
		t.Fatalf("caxton %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}
