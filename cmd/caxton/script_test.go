package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/caxton-run/caxton/fixtures"
	caxtonhttp "github.com/caxton-run/caxton/http"
	"github.com/caxton-run/caxton/wasmhost"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == wasmhost.WorkerArg { // by a node in this process
		main()
	}
	testscript.Main(leakChecked{m}, map[string]func(){"caxton": main})
}

// leakChecked fails a test run that leaves goroutines behind.
type leakChecked struct{ m *testing.M }

// Run implements testscript.TestingM.
func (l leakChecked) Run() int {
	code := l.m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"startserver": startServer,
			"stopserver":  stopServer,
			"endedserver": endedServer,
			"exits":       exits,
			"fixture":     fixture,
		},
	})
}

// startServer runs "caxton server start" on free ports until the script ends,
// with data in $WORK/d. It sets $API and $METRICS (their URLs, by the name
// localhost as in the runbook), $API_ADDR and $CAXTON_API. More arguments are more flags.
func startServer(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("startserver cannot be negated")
	}
	flags := append([]string{"server", "start", "--data-dir", ts.MkAbs("d"), "--api-addr", "127.0.0.1:0", "--metrics-addr", "127.0.0.1:0"}, args...)
	program, err := exec.LookPath("caxton")
	ts.Check(err)
	cmd := exec.Command(program, flags...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append(os.Environ(), "WORK="+ts.Getenv("WORK"), // for what a --config file says
		"CAXTON__MESSAGING__SPILL_AFTER=10s") // a turn that is slow to begin leaves a message "queued" instead of "handled" or "held"
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	stop := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() }) // a script never takes as long
	wait := sync.OnceFunc(func() {
		err := cmd.Wait()
		stop.Stop()
		if err != nil {
			ts.Fatalf("server start: %v", err)
		}
	})
	end := func() {
		_ = cmd.Process.Signal(os.Interrupt)
		wait()
	}
	s := ts.Value(serverKey{}).(*scriptServer)
	s.stop, s.wait = end, wait
	ts.Defer(end)
	found := map[string]string{"REST API on": "", "metrics on": ""}
	lines := bufio.NewScanner(out)
	for lines.Scan() && (found["REST API on"] == "" || found["metrics on"] == "") {
		for what := range found {
			if url, ok := strings.CutPrefix(lines.Text(), "caxton: "+what+" "); ok {
				found[what] = strings.Replace(strings.TrimSuffix(url, "/metrics"), "127.0.0.1", "localhost", 1)
			}
		}
		if found["REST API on"] != "" && found["metrics on"] != "" {
			break
		}
	}
	if found["REST API on"] == "" || found["metrics on"] == "" {
		ts.Fatalf("server start printed no addresses: %v", found)
	}
	go func() { // ends when the server does; a full pipe would stop it
		for lines.Scan() {
		}
	}()
	awaitReady(ts, found["REST API on"])
	ts.Setenv("API", found["REST API on"])
	ts.Setenv("METRICS", found["metrics on"])
	ts.Setenv("CAXTON_API", found["REST API on"])
	ts.Setenv("API_ADDR", strings.TrimPrefix(found["REST API on"], "http://"))
}

// awaitReady waits until a server answers reads: it prints its address before it has
// looked at its log.
func awaitReady(ts *testscript.TestScript, url string) {
	c, err := caxtonhttp.NewClient(caxtonhttp.ClientOptions{URL: url})
	ts.Check(err)
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		_, err := c.Ready(ctx)
		if err == nil {
			return
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			ts.Fatalf("server start: not ready: %v", err)
		}
	}
}

// scriptServer is a script's server, under serverKey.
type scriptServer struct{ stop, wait func() }

type serverKey struct{}

// stopServer ends the server that startserver began, in order.
func stopServer(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(serverKey{}).(*scriptServer)
	if neg || len(args) > 0 || s.stop == nil {
		ts.Fatalf("stopserver takes no arguments and follows startserver")
	}
	s.stop()
}

// endedServer waits until the server that startserver began has ended by itself, in
// order.
func endedServer(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(serverKey{}).(*scriptServer)
	if neg || len(args) > 0 || s.wait == nil {
		ts.Fatalf("endedserver takes no arguments and follows startserver")
	}
	s.wait()
}

// exits runs caxton and wants exactly this exit code: exits CODE args….
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: exits code [arg...]")
	}
	err := ts.Exec("caxton", args[1:]...)
	got := "0"
	if ee, ok := err.(*exec.ExitError); ok {
		got = fmt.Sprint(ee.ExitCode())
	} else {
		ts.Check(err)
	}
	if got != args[0] {
		ts.Fatalf("caxton %s: exit code %s, want %s", strings.Join(args[1:], " "), got, args[0])
	}
}

// fixture writes a module of the package fixtures: fixture NAME FILE.
func fixture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: fixture name file")
	}
	wasm := fixtures.Agent(args[0])
	for _, c := range fixtures.Hostile() {
		if c.Name == args[0] {
			wasm = c.Wasm
		}
	}
	if wasm == nil {
		ts.Fatalf("no fixture %s", args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), wasm, 0o600))
}

// emptyWasm is the smallest module, which every script finds as empty.wasm: a
// txtar file cannot hold its zero bytes.
const emptyWasm = "\x00asm\x01\x00\x00\x00"

func setup(env *testscript.Env) error {
	env.Values[serverKey{}] = &scriptServer{}
	return os.WriteFile(filepath.Join(env.WorkDir, "empty.wasm"), []byte(emptyWasm), 0o600)
}
