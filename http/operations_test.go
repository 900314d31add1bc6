package http

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
)

// TestOperations: client and server agree on every call of operators.
func TestOperations(t *testing.T) {
	f := new(fakeOperations)
	r := start(t, func(_ *Config, d *Deps) { d.Operations = f })
	ctx := context.Background()
	same := func(name string, want, got any, err error) {
		t.Helper()
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
	queue, err := r.Queue(ctx)
	same("queue", f.Queue(), queue, err)
	drained, err := r.DrainQueue(ctx, 3*time.Second, true)
	same("drain", DrainResult{Empty: true, Left: f.Queue(), Discarded: 2, ElapsedMS: 5}, drained, err)
	if f.asked != "drain" || f.window != 3*time.Second || !f.flag {
		t.Errorf("asked %s %s %v", f.asked, f.window, f.flag)
	}
	cancelled, err := r.CancelDrain(ctx)
	same("cancel drain", true, cancelled && f.asked == "cancel drain", err)
	slow, err := r.SlowAgents(ctx, time.Second)
	same("slow", time.Second, f.window, nil)
	same("slow", f.SlowAgents(0), slow, err)
	resources, err := r.Resources(ctx)
	same("resources", f.Resources(), resources, err)
	memory, err := r.Memory(ctx)
	same("memory", f.Memory(), memory, err)
	freed, err := r.CollectMemory(ctx, true)
	same("gc", []MemoryCollected{{Node: "node-1", FreedBytes: 7, Hibernated: 3}}, freed, err)
	same("gc", true, f.flag, nil)
	measures, err := r.Performance(ctx, time.Minute)
	same("performance", time.Minute, f.window, nil)
	same("performance", f.Performance(0), measures, err)
	members, err := r.Members(ctx)
	same("members", f.Members(), members, err)
	status, err := r.ClusterStatus(ctx)
	same("status", f.Status(), status, err)
}

// TestOperationsDefaults: bodies and parameters may be left out.
func TestOperationsDefaults(t *testing.T) {
	f := new(fakeOperations)
	r := start(t, func(_ *Config, d *Deps) { d.Operations = f })
	for _, tc := range []struct {
		method, path string
		window       time.Duration
	}{
		{"POST", "/queue/drain", time.Minute},
		{"GET", "/slow-agents", SlowThreshold},
		{"POST", "/memory/gc", 0},
		{"GET", "/cluster/performance", MaxWindow},
	} {
		if got := exchange(t, r, tc.method, base+tc.path, ""); got.status != 200 || f.window != tc.window || f.flag {
			t.Errorf("%s %s: %d, asked %s %s %v", tc.method, tc.path, got.status, f.asked, f.window, f.flag)
		}
	}
	f.fail = events.ErrConflict
	wantProblem(t, post(t, r, base+"/queue/drain", "{}"), http.StatusConflict, CodeConflict)
	wantProblem(t, post(t, r, base+"/memory/gc", "{}"), http.StatusConflict, CodeConflict)
}

// TestEmergency: it is answered before reads are, and however busy the server is.
func TestEmergency(t *testing.T) {
	f := new(fakeOperations)
	r := start(t, func(c *Config, d *Deps) { d.Emergency, d.Started = f, make(chan struct{}) })
	ctx := context.Background()
	got, err := r.EmergencyStop(ctx, StopOrder{Reason: "smoke", Cluster: true, Preserve: true, DumpTo: "/backup/x"})
	want := EmergencyStop{Node: "node-1", Agents: 2, Guests: 1, Spilled: 3, Shutdown: true}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if f.stop.Reason != "smoke" || !f.stop.Cluster || f.stop.DumpTo != "/backup/x" || f.stop.Principal != principal {
		t.Errorf("asked for %+v", f.stop)
	}
	ready := start(t, func(_ *Config, d *Deps) { d.Emergency = f })
	if lifted, err := ready.EmergencyLift(ctx); err != nil || !lifted {
		t.Errorf("lifted: %v, %v", lifted, err)
	}
	if got := exchange(t, r, "POST", base+"/emergency/stop", ""); got.status != 200 || f.stop != (actors.StopAllRequest{Caller: actors.Caller{Principal: principal}}) {
		t.Errorf("the bare call: %d, %+v", got.status, f.stop)
	}
}
