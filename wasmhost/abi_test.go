package wasmhost

import (
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/wasmhost/meter"
)

const (
	beyond  = 65_536 - 3 // a pointer whose range leaves the memory
	garbage = 0xdead << 32
)

// TestCodes: each answer of the table, from each function that can give it.
func TestCodes(t *testing.T) {
	p := newProbe(t, mapState{"there": []byte("value")}, `{"a":1}`)
	key, keyLen := p.put(100, "there")
	none, noneLen := p.put(120, "none")
	name, nameLen := p.put(140, "content.a")
	bad, badLen := p.put(160, "\xff\xfe")
	send, sendLen := p.put(200, `{"receiver":"b","content":[1]}`)
	for _, c := range []struct {
		fn   string
		args []uint64
		want int32
	}{
		{"state_get", []uint64{key | garbage, keyLen, 1000, 100}, 5},
		{"state_get", []uint64{key, keyLen, 1000, 4}, 5}, // does not fit: its length
		{"state_get", []uint64{none, noneLen, 1000, 100}, codeAbsent},
		{"state_get", []uint64{beyond, 10, 1000, 100}, codeBadPointer},
		{"state_get", []uint64{key, keyLen, beyond, 100}, codeBadPointer},
		{"state_get", []uint64{bad, badLen, 1000, 100}, codeInvalid},
		{"state_get", []uint64{key, 0, 1000, 100}, codeInvalid},
		{"state_get", []uint64{0, maxKeyBytes + 1, 1000, 100}, codeTooLarge},
		{"state_put", []uint64{key, keyLen, send, sendLen}, 0},
		{"state_put", []uint64{key, keyLen, beyond, 10}, codeBadPointer},
		{"state_put", []uint64{beyond, 10, send, sendLen}, codeBadPointer},
		{"state_put", []uint64{bad, badLen, send, sendLen}, codeInvalid},
		{"state_put", []uint64{0, 300, send, sendLen}, codeTooLarge},
		{"state_delete", []uint64{key, keyLen}, 0},
		{"state_delete", []uint64{beyond, 10}, codeBadPointer},
		{"state_delete", []uint64{key, 0}, codeInvalid},
		{"msg_field", []uint64{name, nameLen, 1000, 100}, 1},
		{"msg_field", []uint64{none, noneLen, 1000, 100}, codeAbsent},
		{"msg_field", []uint64{beyond, 10, 1000, 100}, codeBadPointer},
		{"msg_field", []uint64{name, nameLen, beyond + 3, 1}, codeBadPointer},
		{"msg_field", []uint64{0, maxFieldName + 1, 1000, 100}, codeInvalid},
		{"log", []uint64{3, key, keyLen}, 0},
		{"log", []uint64{4, key, keyLen}, codeInvalid},
		{"log", []uint64{0xffffffff, key, keyLen}, codeInvalid},
		{"log", []uint64{1, beyond, 10}, codeBadPointer},
		{"log", []uint64{1, 0, 60_000}, codeTooLarge},
		{"log", []uint64{1, key, keyLen}, codeTooLarge}, // no more room
		{"random", []uint64{1000, 16}, 0},
		{"random", []uint64{beyond, 16}, codeBadPointer},
		{"send", []uint64{send, sendLen}, 0},
		{"send", []uint64{beyond, 10}, codeBadPointer},
		{"send", []uint64{bad, badLen}, codeInvalid},
		{"send", []uint64{send, sendLen - 1}, codeInvalid},
		{"send", []uint64{none, 0}, codeInvalid},
		{"reply", []uint64{beyond, 10}, codeBadPointer},
		{"reply", []uint64{key, keyLen}, 0},
		{"reply", []uint64{key, keyLen}, codeReplied},
	} {
		if got := p.code(c.fn, c.args...); got != c.want {
			t.Errorf("%s%v: %d, want %d", c.fn, c.args, got, c.want)
		}
	}
}

func TestTooLarge(t *testing.T) {
	p := newProbe(t, nil, `1`)
	if _, ok := p.in.mem.Grow(20); !ok {
		t.Fatal("no room")
	}
	if got := p.code("reply", 0, events.MaxMessageContent+1); got != codeTooLarge {
		t.Errorf("reply: %d", got)
	}
	if got := p.code("send", 0, 2*events.MaxMessageContent+1); got != codeTooLarge {
		t.Errorf("send: %d", got)
	}
	ptr, n := p.put(0, `{"receiver":"b","content":"`+strings.Repeat("x", events.MaxMessageContent)+`"}`)
	if got := p.code("send", ptr, n); got != codeTooLarge {
		t.Errorf("send of large content: %d", got)
	}
	if _, err := p.call("state_put", ptr, 5, 0, 600<<10); err == nil || p.in.call.stop != events.OutcomeEffectsTooLarge {
		t.Errorf("state_put: %v, %s", err, p.in.call.stop)
	}
}

// TestUnavailable: during initialisation there is no message and no state.
func TestUnavailable(t *testing.T) {
	p := newProbe(t, mapState{"k": nil}, `1`)
	p.in.call.handling = false
	ptr, n := p.put(100, "k")
	for fn, args := range map[string][]uint64{
		"reply": {ptr, n}, "send": {ptr, n}, "msg_field": {ptr, n, 0, 0}, "state_get": {ptr, n, 0, 0},
		"state_put": {ptr, n, 0, 0}, "state_delete": {ptr, n},
	} {
		if got := p.code(fn, args...); got != codeUnavailable {
			t.Errorf("%s: %d", fn, got)
		}
	}
	if v, err := p.call("fuel_left"); err != nil || v != 0 {
		t.Errorf("fuel_left %d, %v", v, err)
	}
	if got := p.code("log", 1, ptr, n); got != 0 {
		t.Errorf("log: %d", got)
	}
}

// TestState: a message sees what it wrote, and hands on the last change of each
// key.
func TestState(t *testing.T) {
	p := newProbe(t, mapState{"a": []byte("old"), "b": []byte("kept")}, `1`)
	a, _ := p.put(100, "a")
	b, _ := p.put(101, "b")
	c, _ := p.put(102, "c")
	p.put(200, "new!")
	get := func(key uint64) string {
		n := p.code("state_get", key, 1, 1000, 100)
		if n < 0 {
			return "absent"
		}
		return p.get(1000, uint32(n))
	}
	steps := func(want ...string) {
		t.Helper()
		for i, key := range []uint64{a, b, c} {
			if got := get(key); got != want[i] {
				t.Errorf("key %c is %q, want %q", 'a'+i, got, want[i])
			}
		}
	}
	steps("old", "kept", "absent")
	p.code("state_put", a, 1, 200, 4)
	p.code("state_put", c, 1, 200, 3)
	p.code("state_delete", b, 1)
	steps("new!", "absent", "new")
	p.code("state_delete", a, 1)
	p.code("state_put", b, 1, 200, 0)
	steps("absent", "", "new")
	want := []events.StateChange{{Key: "a", Delete: true}, {Key: "c", Value: []byte("new")}, {Key: "b", Value: []byte{}}}
	if diff := cmp.Diff(want, p.in.call.changes); diff != "" {
		t.Error(diff)
	}
}

func TestMsgField(t *testing.T) {
	p := newProbe(t, nil, `{"op":"set","n":[1, 2],"deep":{"a\u0062":{"x":null}},"dup":1,"dup":"two","":{"e":true}}`)
	for path, want := range map[string]string{
		"performative": "request", "sender": "user:test", "content.op": "set", "content.n": "[1,2]",
		"content.deep.ab.x": "null", "content.dup": "two", "content..e": "true", "reply_with": "r\n1",
		"content.op.more": "absent", "content.none": "absent", "": "absent", "content.deep.": "absent", ".": "absent",
	} {
		ptr, n := p.put(100, path)
		got := "absent"
		if length := p.code("msg_field", ptr, n, 1000, 1000); length >= 0 {
			got = p.get(1000, uint32(length))
		}
		if got != want {
			t.Errorf("%q is %q, want %q", path, got, want)
		}
	}
}

func TestClockAndRandom(t *testing.T) {
	p := newProbe(t, nil, `1`)
	if now, err := p.call("now"); err != nil || now != 1_700_000_000_000_000 {
		t.Errorf("now %d, %v", now, err)
	}
	if v, err := p.call("seed"); err != nil || v>>52 >= 0x3ff {
		t.Errorf("seed has bits %x, %v: not in [0, 1)", v, err)
	}
	read := func(pieces ...uint64) string {
		p.begin(nil, `1`)
		at := uint32(1000)
		for _, n := range pieces {
			if p.code("random", uint64(at), n) != 0 {
				t.Fatal("random failed")
			}
			at += uint32(n)
		}
		return p.get(1000, at-1000)
	}
	whole := read(64)
	if whole != read(64) || whole != read(8, 16, 40) || whole == strings.Repeat("\x00", 64) {
		t.Error("random bytes are not a function of the seed alone")
	}
	const golden = "1dc0c1fd5f611b6c" // of seed 42: part of the log's meaning
	if got := hexOf(whole[:8]); got != golden {
		t.Errorf("the first random bytes are %s, want %s", got, golden)
	}
	before, _ := p.call("fuel_left")
	after, _ := p.call("fuel_left")
	if before-after < costCall || before >= 1<<40 {
		t.Errorf("fuel_left %d, then %d", before, after)
	}
}

func hexOf(s string) string {
	const digits = "0123456789abcdef"
	var out []byte
	for i := range len(s) {
		out = append(out, digits[s[i]>>4], digits[s[i]&15])
	}
	return string(out)
}

// TestWASI: what language runtimes ask at their start.
func TestWASI(t *testing.T) {
	p := newProbe(t, nil, `1`)
	for _, c := range []struct {
		fn   string
		args []uint64
		want int32
	}{
		{"args_sizes_get", []uint64{0, 4}, wasiOK}, {"args_sizes_get", []uint64{beyond, 4}, wasiFault},
		{"args_get", []uint64{0, 4}, wasiOK}, {"environ_get", []uint64{0, 4}, wasiOK},
		{"environ_sizes_get", []uint64{0, 4}, wasiOK}, {"environ_sizes_get", []uint64{0, beyond}, wasiFault},
		{"clock_time_get", []uint64{0, 0, 1000}, wasiOK}, {"clock_time_get", []uint64{1, 0, beyond}, wasiFault},
		{"clock_time_get", []uint64{2, 0, 1000}, wasiInval},
		{"random_get", []uint64{1000, 8}, wasiOK}, {"random_get", []uint64{beyond, 8}, wasiFault},
		{"sched_yield", nil, wasiOK},
		{"fd_close", []uint64{1}, wasiOK}, {"fd_close", []uint64{3}, wasiBadf},
		{"fd_fdstat_get", []uint64{0, 1000}, wasiOK}, {"fd_fdstat_get", []uint64{4, 1000}, wasiBadf},
		{"fd_fdstat_get", []uint64{0, beyond}, wasiFault}, {"fd_fdstat_set_flags", []uint64{2, 0}, wasiOK},
		{"fd_prestat_get", []uint64{3, 0}, wasiBadf}, {"fd_prestat_dir_name", []uint64{3, 0, 0}, wasiBadf},
		{"fd_read", []uint64{0, 0, 0, 1000}, wasiOK}, {"fd_read", []uint64{1, 0, 0, 1000}, wasiBadf},
		{"fd_write", []uint64{0, 0, 0, 1000}, wasiBadf}, {"fd_write", []uint64{1, 0, maxIOVecs + 1, 1000}, wasiInval},
		{"fd_write", []uint64{1, beyond, 1, 1000}, wasiFault}, {"fd_write", []uint64{1, 0, 0, beyond}, wasiFault},
		{"poll_oneoff", []uint64{0, 0, 0, 1000}, wasiInval}, {"poll_oneoff", []uint64{beyond, 0, 1, 1000}, wasiFault},
	} {
		if got := p.code(c.fn, c.args...); got != c.want {
			t.Errorf("%s%v: %d, want %d", c.fn, c.args, got, c.want)
		}
	}
	p.code("clock_time_get", 1, 0, 1000)
	if got := binary.LittleEndian.Uint64([]byte(p.get(1000, 8))); got != 1_700_000_000_000_000_000 {
		t.Errorf("the clock shows %d", got)
	}
}

// TestPoll: sleeping takes no time, and the guest's clock believes it did.
func TestPoll(t *testing.T) {
	p := newProbe(t, nil, `1`)
	subscription := func(user uint64, kind byte, nanos uint64, abs uint16) string {
		b := make([]byte, subscriptionBytes)
		binary.LittleEndian.PutUint64(b, user)
		b[8] = kind
		if kind == eventClock {
			binary.LittleEndian.PutUint64(b[24:], nanos)
			binary.LittleEndian.PutUint16(b[40:], abs)
		} else {
			binary.LittleEndian.PutUint32(b[16:], uint32(nanos))
		}
		return string(b)
	}
	users := func() (list []uint64) {
		n := binary.LittleEndian.Uint32([]byte(p.get(3000, 4)))
		for i := range n {
			list = append(list, binary.LittleEndian.Uint64([]byte(p.get(2000+i*eventBytes, 8))))
		}
		return list
	}
	const start = 1_700_000_000_000_000
	for _, c := range []struct {
		subs  []string
		users []uint64
		now   uint64
	}{
		{[]string{subscription(1, eventClock, 5_000_000, 0), subscription(2, eventClock, 3_000_000, 0)}, []uint64{2}, start + 3000},
		{[]string{subscription(3, eventClock, (start+10_000)*1000, clockAbstime)}, []uint64{3}, start + 10_000},
		{[]string{subscription(4, eventClock, 5, clockAbstime)}, []uint64{4}, start + 10_000}, // long past
		{[]string{subscription(5, 1, 0, 0), subscription(6, eventClock, 1000, 0)}, []uint64{5}, start + 10_000},
		{[]string{subscription(7, eventClock, 1<<64-1, 0)}, []uint64{7}, 1<<62/1000 - 1},
	} {
		p.put(1000, strings.Join(c.subs, ""))
		if code := p.code("poll_oneoff", 1000, 2000, uint64(len(c.subs)), 3000); code != wasiOK {
			t.Fatalf("code %d", code)
		}
		if diff := cmp.Diff(c.users, users()); diff != "" {
			t.Error(diff)
		}
		now, _ := p.call("now")
		if c.users[0] != 7 && now != c.now || c.users[0] == 7 && now < c.now {
			t.Errorf("after %v the clock shows %d, want %d", c.users, now, c.now)
		}
	}
}

// TestClockIsState: what a guest slept stays slept, in its snapshot too.
func TestClockIsState(t *testing.T) {
	h := hostWith(t, nil, false)
	m := compileTest(t, h, "probe")
	in := start(t, h, m)
	first := in.clock
	count(in, 1)
	in.clock += 5_000_000_000 // as a sleep of 5 s would
	snap, err := in.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	again, err := h.Restore(context.Background(), m, testMemory, snap)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if first != initMicros*1000 || again.clock != in.clock || again.StateHash() != in.StateHash() {
		t.Errorf("clock %d, restored %d", in.clock, again.clock)
	}
	count(again, 2)
	if again.clock != in.clock {
		t.Errorf("a message one microsecond later moved the clock to %d from %d", again.clock, in.clock)
	}
}

// TestLongLine: a line without an end is cut, and costs the host no more than
// the room for logs.
func TestLongLine(t *testing.T) {
	p := newProbe(t, nil, `1`)
	p.put(0, strings.Repeat("x", 60_000))
	vec := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, 0), 60_000)
	ptr, _ := p.put(61_000, string(vec))
	for range 20 {
		if code := p.code("fd_write", 1, ptr, 1, 62_000); code != wasiOK {
			t.Fatalf("code %d", code)
		}
	}
	c := &p.in.call
	if n := cap(c.lines[0]); n > 4*p.in.host.cfg.MaxLogBytes {
		t.Errorf("%d bytes are held for a line", n)
	}
	if len(c.logs) != 1 || c.logs[0].Text != truncated {
		t.Errorf("logs %v", c.logs)
	}
}

// FuzzPointers calls any host function with any arguments: it answers or ends
// the guest, and memory outside of what the guest named is not its business.
func FuzzPointers(f *testing.F) {
	h := hostWith(f, nil, false)
	m := compileTest(f, h, "probe")
	var names []string
	for _, module := range []string{meter.CaxtonModule, meter.WASIModule, meter.EnvModule} {
		for name := range meter.Offered(module) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for i := range names {
		f.Add(uint8(i), uint64(0), uint64(65_530), uint64(1<<32-1), uint64(1<<63+9))
		f.Add(uint8(i), uint64(65_535), uint64(1<<32-1), uint64(65_535), uint64(2))
		f.Add(uint8(i), uint64(1), uint64(40), uint64(3), uint64(60_000))
	}
	f.Fuzz(func(t *testing.T, which uint8, a, b, c, d uint64) {
		in, err := h.Instantiate(context.Background(), m, testMemory)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		body, err := encodeMessage(nil, request(`{"a":[1,2,3]}`))
		if err != nil {
			t.Fatal(err)
		}
		in.begin(context.Background(), &Call{Fuel: 50_000_000}, body)
		in.call.handling = true
		in.depth.Set(1000)
		fn := in.guest.ExportedFunction(names[int(which)%len(names)])
		if fn == nil {
			t.Fatalf("probe.wat does not export %s", names[int(which)%len(names)])
		}
		args := []uint64{a, b, c, d, b, c}[:len(fn.Definition().ParamTypes())]
		_, err = fn.Call(in.ctx, args...)
		if status, detail := in.classify(err); status == events.OutcomeHostFault || status == events.OutcomeTrap && in.call.stop == "" {
			t.Fatalf("%s%v: %s: %s", names[int(which)%len(names)], args, status, detail)
		}
	})
}
