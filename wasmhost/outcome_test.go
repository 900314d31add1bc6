package wasmhost

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caxton-run/caxton/events"
)

// TestOutcomes: every way in which a run can end, told apart, with no effect but
// of a run that went well.
func TestOutcomes(t *testing.T) {
	h := hostWith(t, nil, false)
	m := compileTest(t, h, "probe")
	for _, c := range []struct {
		letter string
		status events.OutcomeStatus
		detail string
	}{
		{"a", events.OutcomeOK, ""},
		{"r", events.OutcomeRefused, "returned -5"},
		{"u", events.OutcomeTrap, "unreachable in caxton_handle"},
		{"z", events.OutcomeTrap, "integer divide by zero"},
		{"w", events.OutcomeTrap, "out of bounds memory access"},
		{"s", events.OutcomeOutOfFuel, "10000000"},
		{"d", events.OutcomeStackOverflow, "deeper than 10000"},
		{"g", events.OutcomeMemoryLimit, "more than 16777216 bytes"},
		{"m", events.OutcomeOutOfFuel, "fuel"},
		{"x", events.OutcomeTrap, "proc_exit(3)"},
		{"b", events.OutcomeTrap, "abort: boom at f.ts:12:34"},
		{"f", events.OutcomeEffectsTooLarge, "more than 1024"},
		{"p", events.OutcomeEffectsTooLarge, "more than 524288 bytes"},
	} {
		t.Run(c.letter, func(t *testing.T) {
			in := start(t, h, m)
			out := ask(in, c.letter)
			if out.Status != c.status || !strings.Contains(out.Detail, c.detail) {
				t.Fatalf("%s: %s, want %s: %s", out.Status, out.Detail, c.status, c.detail)
			}
			if in.Usable() != (c.status == events.OutcomeOK) {
				t.Errorf("usable %v after %s", in.Usable(), c.status)
			}
			if out.Fuel == 0 || out.Fuel > 10_000_000 {
				t.Errorf("%d fuel", out.Fuel)
			}
			if c.status == events.OutcomeOK {
				return
			}
			if out.Replied || out.Reply != nil || out.Sends != nil || out.State != nil {
				t.Errorf("effects of a run that failed: %+v", out)
			}
			if again := ask(in, "a"); again.Status != events.OutcomeHostFault {
				t.Errorf("a broken instance runs: %s", again.Status)
			}
		})
	}
}

func TestEffects(t *testing.T) {
	h := hostWith(t, nil, false)
	m := compileTest(t, h, "probe")
	out := ask(start(t, h, m), "a")
	fuel := out.Fuel
	want := Outcome{
		Status: events.OutcomeOK, Reply: []byte("one"), Replied: true, Fuel: fuel,
		Sends: []events.Message{{Performative: events.Request, Receiver: "b", Content: []byte("1")}},
		Logs:  []events.LogLine{{Level: events.LogWarn, Text: "one"}},
		State: []events.StateChange{{Key: "key", Value: []byte("one")}},
	}
	if diff := cmp.Diff(want, out); diff != "" {
		t.Error(diff)
	}
	refused := ask(start(t, h, m), "r")
	if refused.GuestStatus != -5 || len(refused.Logs) != 1 {
		t.Errorf("status %d, %d log lines; want -5 and the one", refused.GuestStatus, len(refused.Logs))
	}
}

func TestOutput(t *testing.T) {
	h := hostWith(t, nil, false)
	out := ask(start(t, h, compileTest(t, h, "probe")), "o")
	var want []events.LogLine
	for _, l := range []struct {
		level events.LogLevel
		text  string
	}{{events.LogInfo, "one"}, {events.LogInfo, "two"}, {events.LogError, "one"}, {events.LogError, "two"}, {events.LogInfo, "lo"}, {events.LogError, "lo"}} {
		want = append(want, events.LogLine{Level: l.level, Text: l.text})
	}
	if diff := cmp.Diff(want, out.Logs); diff != "" {
		t.Error(diff)
	}
}

// TestBadABI: modules that break the calling convention are deployed and fail by
// that name.
func TestBadABI(t *testing.T) {
	h := hostWith(t, nil, false)
	for name, want := range map[string]struct {
		status events.OutcomeStatus
		detail string
	}{
		"alloc-null":     {events.OutcomeBadABI, "returned 0"},
		"alloc-far":      {events.OutcomeBadABI, "beyond the memory"},
		"alloc-missing":  {events.OutcomeBadABI, "does not export caxton_alloc"},
		"memory-missing": {events.OutcomeBadABI, "does not export memory"},
		"handle-type":    {events.OutcomeBadABI, "has type (i32) -> (i32)"},
		"alloc-traps":    {events.OutcomeTrap, "unreachable"},
	} {
		out := ask(start(t, h, compileTest(t, h, name)), "a")
		if out.Status != want.status || !strings.Contains(out.Detail, want.detail) {
			t.Errorf("%s: %s: %s, want %s: %s", name, out.Status, out.Detail, want.status, want.detail)
		}
	}
}

func TestNoHandler(t *testing.T) {
	h := hostWith(t, nil, false)
	m, err := h.Compile(context.Background(), []byte("\x00asm\x01\x00\x00\x00"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	if i := m.Info(); i.HandlesMessages || len(i.Warnings) != 1 || !strings.Contains(i.Warnings[0], "handles no messages") {
		t.Errorf("info %+v", i)
	}
	in := start(t, h, m)
	if out := ask(in, "a"); out.Status != events.OutcomeNoHandler || !in.Usable() {
		t.Errorf("%s, usable %v", out.Status, in.Usable())
	}
}

// TestInitialisationEnds: a start function that does not end has as much time as fuel.
func TestInitialisationEnds(t *testing.T) {
	h := hostWith(t, func(c *Config) { c.InitFuel, c.InitTimeout = 1_000_000_000_000, time.Millisecond }, false)
	_, err := h.Instantiate(context.Background(), compileTest(t, h, "start-spins"), testMemory)
	var failed *InitError
	if !errors.As(err, &failed) || failed.Status != events.OutcomeTimeout || !strings.Contains(failed.Detail, "time") {
		t.Errorf("%v, want a timeout", err)
	}
}

// TestNotStarted: what does not come to life, and why.
func TestNotStarted(t *testing.T) {
	h := hostWith(t, func(c *Config) { c.InitFuel = 1_000_000 }, false)
	for name, want := range map[string]struct {
		status events.OutcomeStatus
		detail string
	}{
		"start-spins":  {events.OutcomeOutOfFuel, "1000000"},
		"init-refuses": {events.OutcomeRefused, "caxton_init returned 4"},
		"data-outside": {events.OutcomeTrap, "out of bounds"},
		"memory-large": {events.OutcomeMemoryLimit, "1073741824"},
	} {
		_, err := h.Instantiate(context.Background(), compileTest(t, h, name), testMemory)
		var failed *InitError
		if !errors.As(err, &failed) || failed.Status != want.status || !strings.Contains(failed.Detail, want.detail) {
			t.Errorf("%s: %v, want %s: %s", name, err, want.status, want.detail)
		}
	}
	var refused *events.RefusedError
	if _, err := h.Compile(context.Background(), testModule(t, "memory-largest")); !errors.As(err, &refused) || refused.Rule != "memory_too_large" {
		t.Errorf("4 GiB: %v", err)
	}
	if _, err := h.Compile(context.Background(), []byte("no wasm")); !errors.Is(err, events.ErrInvalidWasm) {
		t.Errorf("no wasm: %v", err)
	}
}

// TestDeadline: a tight loop ends soon after its time, whatever fuel it has.
func TestDeadline(t *testing.T) {
	h := hostWith(t, nil, false)
	for _, letter := range []string{"s", "m"} {
		c := testCall(letter)
		c.Fuel, c.Timeout = 1<<60, 20*time.Millisecond
		begin := time.Now()
		out := start(t, h, compileTest(t, h, "probe")).Handle(context.Background(), c)
		late := time.Since(begin) - c.Timeout
		if out.Status != events.OutcomeTimeout || late < 0 {
			t.Errorf("%s: %s after %v", letter, out.Status, late+c.Timeout)
		}
		t.Logf("%s: %v late", letter, late) // bound by the machine's other work, so not asserted closely
		if late > time.Minute {
			t.Errorf("%s: %v late", letter, late)
		}
	}
}

// startSignal tells when a guest is at work: it asks for nothing before.
type startSignal chan struct{}

func (s startSignal) Deadline() (time.Time, bool) { return time.Time{}, false }
func (s startSignal) Done() <-chan struct{}       { return nil }
func (s startSignal) Value(any) any               { return nil }
func (s startSignal) Err() error {
	select {
	case s <- struct{}{}:
	default:
	}
	return nil
}

func TestKill(t *testing.T) {
	h := hostWith(t, nil, false)
	in := start(t, h, compileTest(t, h, "probe"))
	c := testCall("s")
	c.Fuel, c.Timeout = 1<<60, 0
	running := make(startSignal)
	done := make(chan Outcome)
	go func() { done <- in.Handle(running, c) }()
	<-running // refill looked at the context: the guest spins
	in.Kill()
	if out := <-done; out.Status != events.OutcomeKilled || in.Usable() {
		t.Errorf("%s, usable %v", out.Status, in.Usable())
	}
	if out := ask(in, "a"); out.Status != events.OutcomeKilled {
		t.Errorf("after the kill: %s", out.Status)
	}
}

func TestCancel(t *testing.T) {
	h := hostWith(t, nil, false)
	in := start(t, h, compileTest(t, h, "probe"))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if out := in.Handle(ctx, testCall("s")); out.Status != events.OutcomeKilled {
		t.Errorf("%s: %s", out.Status, out.Detail)
	}
	if _, err := h.Instantiate(ctx, compileTest(t, h, "probe"), testMemory); !errors.Is(err, context.Canceled) {
		t.Errorf("instantiate: %v", err)
	}
}

// TestFuelIsOne: outcome, fuel and state are the same in all slices and on both
// engines, for all ways to end.
func TestFuelIsOne(t *testing.T) {
	type result struct {
		Out  Outcome
		Hash [32]byte
	}
	want := map[string]result{}
	for _, interpreter := range []bool{false, true} {
		for _, slice := range []events.Fuel{1, 999, 200_000, 1 << 30} {
			h := hostWith(t, func(c *Config) { c.Slice, c.CallDepth = slice, 500 }, interpreter)
			m := compileTest(t, h, "probe")
			for _, letter := range strings.Split("aruzwsdgmxbfpoc", "") {
				if letter == "s" && slice < 999 {
					continue // a refill for each of 10,000,000
				}
				in := start(t, h, m)
				c := testCall(letter)
				c.Message.ID = events.MessageID{1}
				c.Fuel = 3_000_000
				got := result{in.Handle(context.Background(), c), in.StateHash()}
				if w, ok := want[letter]; !ok {
					want[letter] = got
				} else if diff := cmp.Diff(w, got); diff != "" {
					t.Errorf("%s, slice %d, interpreter %v: %s", letter, slice, interpreter, diff)
				}
			}
		}
	}
}

// TestTrapOfNameless: a trap tells a function without a name by its number in the
// module as it was uploaded, as a profile does.
func TestTrapOfNameless(t *testing.T) {
	h := hostWith(t, nil, false)
	in := start(t, h, compileProfiled(t, h, testModule(t, "nameless")))
	if out := ask(in, "a"); !strings.HasSuffix(out.Detail, "unreachable in func[1] < caxton_handle") {
		t.Errorf("%s: %s", out.Status, out.Detail)
	}
	var names []string
	for _, f := range in.TakeProfile().Functions() {
		names = append(names, f.Name)
	}
	if !slices.Contains(names, "func[1]") {
		t.Errorf("the profile has %v", names)
	}
}

// TestTrapOfNamed: a trap tells the name that a function was given, whatever stands in
// it: the names of C++ hold the types of parameters.
func TestTrapOfNamed(t *testing.T) {
	for _, name := range []string{
		"agent/handle", "(anonymous namespace)::fall(int)", "Shape::area() const", "operator()(int, char const*)", "a (b) (c)", "(", ")",
	} {
		t.Run(name, func(t *testing.T) {
			h := hostWith(t, nil, false)
			in := start(t, h, compileProfiled(t, h, named(t, 1, name)))
			if out := ask(in, "a"); out.Detail != "unreachable in "+name+" < func[2]" {
				t.Errorf("%s: %s", out.Status, out.Detail)
			}
			if got := in.TakeProfile().Functions(); !slices.ContainsFunc(got, func(f FunctionFuel) bool { return f.Name == name }) {
				t.Errorf("the profile has %v", got)
			}
		})
	}
}

// TestFramesWithoutTypes: what the engine adds to a name goes, and nothing else.
func TestFramesWithoutTypes(t *testing.T) {
	for line, want := range map[string]string{
		".f()": ".f", ".f(i32,i64) f32": ".f", ".f(i32) (i32,i64)": ".f", ".f() (i32,i32)": ".f", ".(a) (b)(v128) (i32,i64)": ".(a) (b)",
		"wasm stack trace:": "", "... maybe followed by omitted frames": "", "": "",
	} {
		if got, ok := withoutTypes(line); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %t", line, got, ok)
		}
	}
}

// named is the nameless test module with a section that names one function.
func named(t *testing.T, function byte, name string) []byte {
	t.Helper()
	names := append([]byte{1, function, byte(len(name))}, name...) // one
	section := append([]byte{4, 'n', 'a', 'm', 'e', 1, byte(len(names))}, names...)
	return append(append(testModule(t, "nameless"), 0, byte(len(section))), section...)
}
