package main

import (
	"encoding/json"
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
		p.kill()
		p.flags = nil
		if i%2 == 0 { // the first of all
			p.flags = []string{"--bootstrap"}
		}
		p.start()
	}
	p.ready(client)
	k.stop()
	for i, name := range counters {
		writers.check(t, client, i, name)
	}
	// What a group has applied is not synced, and a kill leaves the last of it in the
	// raft log only: who looks at the log beside a server wants it closed.
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

// command runs the program and returns what it prints.
func command(t *testing.T, args ...string) []byte {
	t.Helper()
	out, err := exec.Command("caxton", args...).Output()
	if err != nil {
		t.Fatalf("caxton %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}
