package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
	caxtonhttp "github.com/caxton-run/caxton/http"
	"github.com/caxton-run/caxton/wasmhost"
)

// TestDemo reads what a newcomer reads, twice: the second start finds what the
// first one left.
func TestDemo(t *testing.T) {
	p := newProcess(t, "--demo")
	p.start()
	for _, line := range []string{
		"deployed  counter", "deployed  pong",
		`counter -> you: inform {"count":3}`, `counter -> you: inform {"count":7}`,
		`kv -> you: inform {"found":true,"value":"hello"}`,
		`ping -> you: inform {"rounds":3,"done":true}`,
		"What the log says of ping", "AgentDeployed", `sent request {"ball":1}`,
		"Where to look next",
	} {
		p.expect(line)
	}
	p.kill()
	p.start()
	p.expect("found     counter")
	p.expect(`counter -> you: inform {"count":10}`)
	p.expect("Where to look next")
}

// TestSignals: the first ends the server in order, the second at once.
func TestSignals(t *testing.T) {
	p := newProcess(t)
	p.start()
	c := p.client()
	p.ready(c)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.expect("caxton: stopped")
	if err := p.wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}

	p.start()
	p.ready(c)
	spinning := deployHostile(t, c, "spin", events.ResourceLimits{MaxFuel: events.LimitCeilings().MaxFuel, MaxExecutionTimeMS: 60_000})
	var sent sync.WaitGroup
	sent.Go(func() { // what becomes of it is TestKill's affair
		_, _ = c.Send(context.Background(), spinning, caxtonhttp.Outgoing{Content: json.RawMessage("1"), Wait: 20 * time.Second})
	})
	p.measures("caxton_queue_depth 1") // the guest has begun: a drain would take long
	err := p.waitUnder(syscall.SIGTERM)
	var ended *exec.ExitError
	if !errors.As(err, &ended) {
		t.Fatalf("after two signals: %v, want it to be ended by the signal", err)
	}
	if status, ok := ended.Sys().(syscall.WaitStatus); !ok || !status.Signaled() {
		t.Errorf("after two signals: %v, want it to be ended by the signal", err)
	}
	sent.Wait()
}

// waitUnder sends a signal again and again until the process has ended.
func (p *process) waitUnder(sig syscall.Signal) error {
	p.t.Helper()
	ended := make(chan error, 1)
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	proc := p.cmd.Process
	go func() { ended <- p.wait() }()
	for {
		if err := proc.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
			p.t.Fatal(err)
		}
		select {
		case err := <-ended:
			return err
		case <-again.C:
		}
	}
}

// measures waits until the metrics have a line.
func (p *process) measures(line string) {
	p.t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for !strings.Contains(p.scrape(), line) {
		select {
		case <-poll.C:
		case <-late.C:
			p.t.Fatalf("no %q in the metrics", line)
		}
	}
}

func deployHostile(t *testing.T, c *caxtonhttp.Client, name string, limits events.ResourceLimits) string {
	t.Helper()
	for _, h := range fixtures.Hostile() {
		if h.Name == name {
			v, err := c.Deploy(context.Background(), caxtonhttp.Deployment{Name: name, Wasm: h.Wasm, Limits: limits})
			if err != nil {
				t.Fatal(err)
			}
			return v.ID.String()
		}
	}
	t.Fatalf("no hostile guest %s", name)
	return ""
}

// TestHealthUnderAttack runs every hostile guest at once and asks for the node's
// health, and an honest agent for its count, all the while.
func TestHealthUnderAttack(t *testing.T) {
	p := newProcess(t)
	p.start()
	c := p.client()
	p.ready(c)
	ctx := context.Background()
	if _, err := c.Deploy(ctx, caxtonhttp.Deployment{Name: "honest", Wasm: fixtures.Agent("counter-rust")}); err != nil {
		t.Fatal(err)
	}
	var attack sync.WaitGroup
	over := make(chan struct{})
	for _, h := range fixtures.Hostile() {
		attack.Go(func() { attackWith(t, c, h) })
	}
	go func() { attack.Wait(); close(over) }()
	asked := 0
	for running := true; running; asked++ {
		select {
		case <-over:
			running = false
		default:
		}
		if err := c.Health(ctx); err != nil {
			t.Fatalf("health: %v", err)
		}
		if got := askJSON(t, c, "honest", `{"op":"add","n":1}`)["count"]; got != float64(asked+1) {
			t.Fatalf("the honest agent stands at %v, want %d", got, asked+1)
		}
	}
	t.Logf("asked %d times", asked)
}

func attackWith(t *testing.T, c *caxtonhttp.Client, h fixtures.HostileCase) {
	ctx := context.Background()
	v, err := c.Deploy(ctx, caxtonhttp.Deployment{Name: h.Name, Wasm: h.Wasm})
	if h.Refusal != "" {
		var problem *caxtonhttp.ProblemError
		if !errors.As(err, &problem) || problem.Status != 422 || !strings.Contains(problem.Detail, h.Refusal) {
			t.Errorf("%s: %v, want 422 by rule %s", h.Name, err, h.Refusal)
		}
		return
	}
	if err != nil {
		t.Errorf("%s: %v", h.Name, err)
		return
	}
	r, err := c.Send(ctx, v.ID.String(), caxtonhttp.Outgoing{Content: json.RawMessage(`1`), Wait: 20 * time.Second})
	if err != nil || r.Status != actors.Failed {
		t.Errorf("%s: %+v, %v; want it to fail", h.Name, r, err)
		return
	}
	for v.LastError == nil && err == nil { // reads follow the log
		v, err = c.Agent(ctx, v.ID.String())
	}
	if err != nil || v.LastError.Outcome != h.Outcome {
		t.Errorf("%s: last error %+v, %v; want %s", h.Name, v.LastError, err, h.Outcome)
	}
}

// TestStartRefuses tells what is in the way and how to go round it.
func TestStartRefuses(t *testing.T) {
	p := newProcess(t)
	p.start()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	program, err := exec.LookPath("caxton")
	if err != nil {
		t.Fatal(err)
	}
	free := []string{"--api-addr", "127.0.0.1:0", "--metrics-addr", "127.0.0.1:0"}
	for name, c := range map[string]struct {
		args  []string
		code  int
		wants []string
	}{
		"data in use":  {append([]string{"--data-dir", p.dir}, free...), 1, []string{p.dir, "in use"}},
		"port in use":  {[]string{"--data-dir", t.TempDir(), "--api-addr", taken.Addr().String(), "--metrics-addr", "127.0.0.1:0"}, 1, []string{taken.Addr().String(), "in use", "--api-addr"}},
		"metrics port": {[]string{"--data-dir", t.TempDir(), "--api-addr", "127.0.0.1:0", "--metrics-addr", taken.Addr().String()}, 1, []string{"--metrics-addr"}},
		"no port":      {[]string{"--api-addr", "127.0.0.1"}, 2, []string{"--api-addr", "HOST:PORT"}},
		"reachable":    {[]string{"--api-addr", "0.0.0.0:0"}, 2, []string{"server.host", "allow_unauthenticated"}},
		"no level":     {append([]string{"--log-level", "loud"}, free...), 2, []string{"observability.log.level", "loud"}},
		"no file":      {[]string{"--config", "/nonexistent.yaml"}, 1, []string{"/nonexistent.yaml"}},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(program, append([]string{"server", "start"}, c.args...)...)
			cmd.Dir = t.TempDir()
			out, err := cmd.CombinedOutput()
			var ended *exec.ExitError
			if !errors.As(err, &ended) || ended.ExitCode() != c.code {
				t.Errorf("%v, want exit code %d: %s", err, c.code, out)
			}
			for _, want := range c.wants {
				if !strings.Contains(string(out), want) {
					t.Errorf("the output lacks %q: %s", want, out)
				}
			}
		})
	}
}

// TestMissingProtectionsAreTold: in one line with everything in attributes, and in none
// when nothing is missing.
func TestMissingProtectionsAreTold(t *testing.T) {
	var out strings.Builder
	log := slog.New(slog.NewJSONHandler(&out, nil))
	if warnOfMissing(log, nil); out.Len() > 0 {
		t.Errorf("with nothing missing it says %s", out.String())
	}
	warnOfMissing(log, []wasmhost.MissingProtection{
		{Name: "seccomp", Risk: "start programs", Advice: "ask for filters", Err: syscall.EINVAL},
		{Name: "landlock", Risk: "look into others", Advice: "ask for domains", Err: syscall.ENOSYS},
	})
	got := map[string]string{}
	if err := json.Unmarshal([]byte(out.String()), &got); err != nil { // one line
		t.Fatal(err, out.String())
	}
	delete(got, "time")
	want := map[string]string{
		"level": "WARN", "msg": "the processes that compile modules lack a protection",
		"missing": "seccomp; landlock", "risk": "start programs; look into others",
		"advice": "ask for filters; ask for domains", "err": "invalid argument; function not implemented",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the line (-want +got):\n%s", diff)
	}
}
