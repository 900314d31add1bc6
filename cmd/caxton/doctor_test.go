package main

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/caxton-run/caxton/events/pebblestore"
	"github.com/caxton-run/caxton/internal/config"
	"github.com/caxton-run/caxton/wasmhost"
)

// verdictOn is what a judge makes of one measurement.
func verdictOn(judge func(*finding)) (status, all string) {
	f := finding{Status: checkOK}
	judge(&f)
	return f.Status, f.Measured + " | " + f.Advice
}

func TestDoctorsBounds(t *testing.T) {
	sync := func(median, tail time.Duration) func(*finding) {
		return func(f *finding) { judgeSync(f, median, tail, 100*time.Millisecond) }
	}
	space := func(used float64) func(*finding) {
		return func(f *finding) { judgeSpace(f, used, pebblestore.DefaultWatermarks()) }
	}
	files := func(limit uint64) func(*finding) { return func(f *finding) { judgeFiles(f, limit, 1128) } }
	memory := func(total uint64) func(*finding) {
		return func(f *finding) { judgeMemory(f, total, 192<<20, 2<<30) }
	}
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	clock := func(now time.Time, jump time.Duration, last time.Time) func(*finding) {
		return func(f *finding) { judgeClock(f, now, jump, last) }
	}
	system := func(kind int64) func(*finding) { return func(f *finding) { judgeFileSystem(f, kind) } }
	confined := func(missing ...wasmhost.MissingProtection) func(*finding) {
		return func(f *finding) { judgeConfinement(f, missing) }
	}
	for _, c := range []struct {
		name  string
		judge func(*finding)
		want  string
		says  string
	}{
		{"quick disk", sync(time.Millisecond, 10*time.Millisecond), checkOK, "sync P50 1ms, P99 10ms"},
		{"slow disk", sync(1100*time.Microsecond, 5*time.Millisecond), checkWarn, "target of 1ms at the median"},
		{"uneven disk", sync(200*time.Microsecond, 11*time.Millisecond), checkWarn, "1 message in 100 takes longer"},
		{"useless disk", sync(101*time.Millisecond, time.Second), checkFail, "messaging.spill_after (100ms)"},
		{"roomy", space(84.9), checkOK, "84.9 % used"},
		{"filling", space(85), checkWarn, "from 90 % on messages and deployments are refused"},
		{"low", space(90), checkFail, "from 90 % on messages and deployments are refused"},
		{"full", space(95), checkFail, "from 95 % on the log is read-only"},
		{"no files", files(1127), checkFail, "a node needs 1128: raise LimitNOFILE"},
		{"few files", files(1128), checkWarn, "0 files are left for clients"},
		{"files", files(8192), checkOK, "at most 8192"},
		{"all files", files(1<<64 - 1), checkOK, "unlimited"},
		{"no memory", memory(192<<20 - 1), checkFail, "a node takes 192MiB without agents"},
		{"little memory", memory(1 << 30), checkWarn, "may take 2GiB beside the node: lower runtime.compile.memory"},
		{"memory", memory(192<<20 + 2<<30), checkOK, ""},
		{"clock", clock(now, -maxJump, now.Add(maxAhead)), checkOK, ""},
		{"unset clock", clock(time.Unix(0, 0), 0, time.Time{}), checkFail, "never set"},
		{"jumping clock", clock(now, -time.Second, time.Time{}), checkWarn, "set by -1s just now"},
		{"late clock", clock(now, 0, now.Add(2*time.Hour)), checkWarn, "the log's last event is from 2h0m later"},
		{"ext4", system(0xef53), checkOK, ""},
		{"tmpfs", system(0x01021994), checkWarn, "lost with the power"},
		{"overlay", system(0x794c7630), checkWarn, "on a volume"},
		{"confined", confined(), checkOK, "reach no network"},
		{"not confined", confined(
			wasmhost.MissingProtection{Name: "seccomp", Risk: "start programs", Advice: "ask for filters", Err: syscall.EINVAL},
			wasmhost.MissingProtection{Name: "landlock", Risk: "look into others", Advice: "ask for domains", Err: syscall.ENOSYS},
		), checkWarn, "could start programs (invalid argument); look into others (function not implemented) | seccomp: ask for filters; landlock: ask for domains"},
		{"nfs", system(0x6969), checkWarn, "a local disk"},
	} {
		got, all := verdictOn(c.judge)
		if got != c.want || !strings.Contains(all, c.says) {
			t.Errorf("%s: %s, %s; want %s and %q", c.name, got, all, c.want, c.says)
		}
		if (got == checkOK) != strings.HasSuffix(all, "| ") {
			t.Errorf("%s: %s with the advice %s", c.name, got, all)
		}
	}
}

func TestWorse(t *testing.T) {
	f := finding{Status: checkOK}
	for _, s := range []string{checkWarn, checkFail, checkWarn} {
		f.worse(s, s)
	}
	f.worse(checkFail, "again")
	if f.Status != checkFail || f.Advice != checkFail {
		t.Errorf("%+v, want the first failure", f)
	}
}

func TestGroupMemory(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	for _, c := range []struct {
		name   string
		system fstest.MapFS
		want   uint64
		ok     bool
	}{
		{"nothing", fstest.MapFS{}, 0, false},
		{"version 2", fstest.MapFS{
			"proc/self/cgroup": file("0::/a/b\n"), "sys/fs/cgroup/a/b/memory.max": file("max\n"), "sys/fs/cgroup/a/memory.max": file("1048576\n"),
		}, 1 << 20, true},
		{"version 2, the inner one", fstest.MapFS{
			"proc/self/cgroup": file("0::/a\n"), "sys/fs/cgroup/a/memory.max": file("1000\n"), "sys/fs/cgroup/memory.max": file("2000\n"),
		}, 1000, true},
		{"version 2, none", fstest.MapFS{"proc/self/cgroup": file("0::/a\n"), "sys/fs/cgroup/a/memory.max": file("max\n")}, 0, false},
		{"version 1", fstest.MapFS{
			"proc/self/cgroup": file("5:cpu:/x\n4:memory:/m\n"), "sys/fs/cgroup/memory/m/memory.limit_in_bytes": file("4096\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("9223372036854771712\n"),
		}, 4096, true},
		{"version 1, none", fstest.MapFS{
			"proc/self/cgroup": file("4:memory:/\n"), "sys/fs/cgroup/memory/memory.limit_in_bytes": file("9223372036854771712\n"),
		}, 0, false},
		{"no sense", fstest.MapFS{"proc/self/cgroup": file("::\nx\n0::/../..\n")}, 0, false},
	} {
		if got, ok := groupMemory(c.system); ok != c.ok || ok && got != c.want {
			t.Errorf("%s: %d, %v; want %d, %v", c.name, got, ok, c.want, c.ok)
		}
	}
	total, available := machineMemory(fstest.MapFS{"proc/meminfo": file("MemTotal:  2 kB\nMemFree: 9 kB\nMemAvailable: 1 kB\nodd\nMemTotal: x kB\n")})
	if total != 2048 || available != 1024 {
		t.Errorf("machine: %d, %d", total, available)
	}
}

func TestListening(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4242 1
   1: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000  1000        0 4243 1
   2: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4244 1
   3: short
`
	got := listening(fstest.MapFS{"proc/net/tcp": {Data: []byte(table)}}, 8080)
	if len(got) != 1 || !got["socket:[4242]"] {
		t.Errorf("port 8080: %v, want socket 4242", got)
	}
}

func newDoctor(t *testing.T) *doctor {
	t.Helper()
	return &doctor{cfg: config.Default(), dir: t.TempDir(), now: time.Now, system: os.DirFS("/"), began: time.Now()}
}

// TestDoctorFindsWhoListens: this process does.
func TestDoctorFindsWhoListens(t *testing.T) {
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the listener: it answers nothing that a caxton would
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	defer func() {
		if err := ln.Close(); err != nil {
			t.Error(err)
		}
	}()
	d := newDoctor(t)
	p := port{name: "p", addr: ln.Addr().String(), key: "k", flag: "--f", path: "/", sign: "x"}
	if f := d.port(t.Context(), p); f.Status != checkFail || !strings.Contains(f.Measured, "is in use by ") || !strings.Contains(f.Advice, "k, or --f") {
		t.Errorf("%+v", f)
	}
	p.addr = "192.0.2.1:0" // TEST-NET-1 of RFC 5737: nobody's
	if f := d.port(t.Context(), p); f.Status != checkFail || !strings.Contains(f.Measured, "192.0.2.1") {
		t.Errorf("%+v", f)
	}
}

// TestSyncTimes leaves nothing behind, whatever happens.
func TestSyncTimes(t *testing.T) {
	dir := t.TempDir()
	took, err := syncTimes(t.Context(), dir)
	if err != nil || len(took) < minSyncs || len(took) > maxSyncs {
		t.Errorf("%d syncs, %v", len(took), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := syncTimes(ctx, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled one: %v", err)
	}
	if _, err := syncTimes(t.Context(), dir+"/nowhere"); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("no directory: %v", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestDoctorsDirectory(t *testing.T) {
	d := newDoctor(t)
	if err := os.Chmod(d.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	look := func(want, says string) {
		t.Helper()
		if f := d.directory(t.Context()); f.Status != want || !strings.Contains(f.Measured+f.Advice, says) {
			t.Errorf("%+v, want %s and %q", f, want, says)
		}
	}
	look(checkOK, "no log yet")
	if err := os.Chmod(d.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	look(checkWarn, "open to other users (0755)")
	d.dir += "/a/b"
	look(checkOK, "not there yet")
	if err := os.WriteFile(strings.TrimSuffix(d.dir, "/b"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	look(checkFail, "not a directory")
	d.dir = strings.TrimSuffix(d.dir, "/b")
	look(checkFail, "is no directory")
}
