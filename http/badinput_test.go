package http

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caxton-run/caxton/events"
)

const okModule = `"wasm_module":"AGFzbQEAAAA="`

// badBody is one JSON body with a fault.
type badBody = struct{ body, field, reason string }

func badBreakerOrders() []badBody {
	return []badBody{
		{`{}`, "action", "activate or reset"},
		{`{"action":"open"}`, "action", "activate or reset"},
		{`{"action":"activate"}`, "scope", "must be all"},
		{`{"action":"activate","scope":"galaxy"}`, "scope", "must be all"},
		{`{"action":"activate","scope":"all","name":"x"}`, "name", "not taken"},
		{`{"action":"activate","scope":"agent"}`, "name", "must be an agent"},
		{`{"action":"activate","scope":"node"}`, "scope", "a name of 1 to"},
		{`{"action":"activate","scope":"all","gradual":true}`, "gradual", "not taken to activate"},
		{`{"action":"activate","scope":"all","duration":"5s"}`, "duration", "not taken to activate"},
		{`{"action":"reset","duration":"5s"}`, "gradual", "must be true"},
		{`{"action":"reset","gradual":true,"duration":"0s"}`, "duration", "must be 1s"},
		{`{"action":"reset","gradual":true,"duration":"10ms"}`, "duration", "must be 1s"},
		{`{"action":"reset","gradual":true,"duration":"25h"}`, "duration", "at most 24h"},
		{`{"action":"reset","name":"x"}`, "scope", "must be all"},
		{`{"action":"reset","now":true}`, "now", "is not a field"},
	}
}

func badDrains() []badBody {
	return []badBody{
		{`{"timeout":"10m1s"}`, "timeout", "at most 10m0s"},
		{`{"timeout":"-1s"}`, "timeout", "a duration"},
		{`{"timeout":60}`, "timeout", "a string"},
		{`{"timeout":"soon"}`, "timeout", "a duration"},
		{`{"discard":"yes"}`, "discard", "true or false"},
		{`{"force":true}`, "force", "is not a field"},
	}
}

// badLimits are deployments with one limit that is not one.
func badLimits() []badBody {
	type row = badBody
	limits := func(name, v string) string {
		return fmt.Sprintf(`{"name":"a",%s,"resource_limits":{%q:%s}}`, okModule, name, v)
	}
	var deploy []row
	ceil := events.LimitCeilings()
	for name, top := range map[string]uint64{
		"max_memory_bytes": ceil.MaxMemoryBytes, "max_fuel": uint64(ceil.MaxFuel), "max_execution_time_ms": ceil.MaxExecutionTimeMS,
	} {
		field := "resource_limits." + name
		deploy = append(deploy,
			row{limits(name, "0"), field, "greater than 0"},
			row{limits(name, "-1"), field, "greater than 0"},
			row{limits(name, fmt.Sprint(top+1)), field, fmt.Sprintf("at most %d", top)},
			row{limits(name, "99999999999999999999999"), field, fmt.Sprintf("at most %d", top)},
			row{limits(name, "1.5"), field, "whole number"},
			row{limits(name, "1e3"), field, "whole number"},
			row{limits(name, `"1"`), field, "a number, got a string"},
			row{limits(name, "null"), field, "a number, got null"},
			row{limits(name, "[1]"), field, "a number, got an array"},
			row{limits(name, "true"), field, "a number, got a boolean"},
		)
	}
	return deploy
}

// badDeploys are deployments with one fault that is none of a limit.
func badDeploys() []badBody {
	return []badBody{
		{`{` + okModule + `}`, "name", "must not be empty"},
		{`{"name":"",` + okModule + `}`, "name", "must not be empty"},
		{`{"name":" \t ",` + okModule + `}`, "name", "must not be empty"},
		{`{"name":"` + strings.Repeat("é", 65) + `",` + okModule + `}`, "name", "at most 64"},
		{`{"name":"a\u0000b",` + okModule + `}`, "name", "control"},
		{`{"name":"a/b",` + okModule + `}`, "name", "'/'"},
		{`{"name":7,` + okModule + `}`, "name", "a string, got a number"},
		{`{"name":null,` + okModule + `}`, "name", "a string, got null"},
		{`{"Name":"a","name":"a",` + okModule + `}`, "Name", "is not a field"},
		{`{"name":"a","name":"b",` + okModule + `}`, "name", "twice"},
		{`{"name":"a"}`, "wasm_module", "must not be empty"},
		{`{"name":"a","wasm_module":""}`, "wasm_module", "must not be empty"},
		{`{"name":"a","wasm_module":"AGFz*QEAAAA="}`, "wasm_module", "base64"},
		{`{"name":"a","wasm_module":"AGFzbQEAAAA"}`, "wasm_module", "base64"},
		{`{"name":"a","wasm_module":[0,97]}`, "wasm_module", "a string, got an array"},
		{`{"name":"a",` + okModule + `,"resource_limits":7}`, "resource_limits", "JSON object"},
		{`{"name":"a",` + okModule + `,"resource_limits":null}`, "resource_limits", "JSON object"},
		{`{"name":"a",` + okModule + `,"resource_limits":{"max_feul":1}}`, "resource_limits.max_feul", "is not a field"},
		{`{"name":"a",` + okModule + `,"unique_name":"yes"}`, "unique_name", "true or false"},
		{`{"name":"a",` + okModule + `,"priority":"urgent"}`, "priority", "must be one of low"},
		{`{"name":"a",` + okModule + `,"priority":1}`, "priority", "a string"},
		{`{"name":"a",` + okModule + `,"labels":["x"]}`, "labels", "JSON object"},
		{`{"name":"a",` + okModule + `,"labels":{"k":1}}`, "labels.k", "a string"},
		{`{"name":"a",` + okModule + `,"labels":{"":"v"}}`, "labels", "1 to 63"},
		{`{"name":"a",` + okModule + `,"labels":{"k":"` + strings.Repeat("v", 64) + `"}}`, "labels", "1 to 63"},
		{`{"name":"a",` + okModule + `,"surprise":1}`, "surprise", "is not a field"},
	}
}

func badMessages() []badBody {
	type row = badBody
	long := strings.Repeat("x", events.MaxFieldLength+1)
	message := []row{
		{`{"performative":"shout"}`, "performative", "unknown"},
		{`{"performative":3}`, "performative", "a string"},
		{`{"content":1,"content_base64":"AA=="}`, "content", "beside"},
		{`{"content_base64":"?"}`, "content_base64", "base64"},
		{`{"content_base64":7}`, "content_base64", "a string"},
		{`{"reply_by":"tomorrow"}`, "reply_by", "a time"},
		{`{"reply_by":"2006-01-02T15:04:05+24:00"}`, "reply_by", "offset below 24 hours"},
		{`{"priority":"urgent"}`, "priority", "must be one of low"},
		{`{"sender":"root"}`, "sender", "is not a field"},
		{`{"receiver":"x"}`, "receiver", "is not a field"},
		{`{"hops":1}`, "hops", "is not a field"},
		{`{"sequence":1}`, "sequence", "is not a field"},
		{`{"id":"` + events.NewMessageID().String() + `"}`, "id", "is not a field"},
	}
	for _, f := range []string{"conversation_id", "reply_with", "in_reply_to", "protocol", "language", "ontology"} {
		message = append(message, row{fmt.Sprintf(`{%q:%q}`, f, long), f, "at most 256"}, row{fmt.Sprintf(`{%q:{}}`, f), f, "a string"})
	}
	return message
}

func badPosts() []badBody {
	long := strings.Repeat("x", events.MaxFieldLength+1)
	return []badBody{
		{`{}`, "receiver", "must not be empty"},
		{`{"receiver":7}`, "receiver", "a string"},
		{`{"receiver":"` + long + `"}`, "receiver", "at most 256"},
		{`{"receiver":"a","to":"b"}`, "to", "is not a field"},
		{`{"receiver":"a","sender":"root"}`, "sender", "is not a field"},
	}
}

func badStops() []badBody {
	return []badBody{
		{`{"grace_period_seconds":-1}`, "grace_period_seconds", "0 to 3600"},
		{`{"grace_period_seconds":3601}`, "grace_period_seconds", "0 to 3600"},
		{`{"grace_period_seconds":1.5}`, "grace_period_seconds", "whole number"},
		{`{"grace_period_seconds":"5s"}`, "grace_period_seconds", "a number"},
		{`{"drain_messages":1}`, "drain_messages", "true or false"},
	}
}

func badActions() []badBody {
	return []badBody{
		{`{}`, "action", "must be one of suspend"},
		{`{"action":"explode","filter":{"all":true}}`, "action", "must be one of suspend"},
		{`{"action":"suspend"}`, "filter", "must name status"},
		{`{"action":"suspend","filter":{}}`, "filter", "must name status"},
		{`{"action":"suspend","filter":{"all":true,"priority":"low"}}`, "filter.all", "beside"},
		{`{"action":"suspend","filter":{"status":"removed"}}`, "filter.status", "must be one of running"},
		{`{"action":"suspend","filter":{"priority":"urgent"}}`, "priority", "must be one of low"},
		{`{"action":"suspend","filter":{"labels":{"k":1}}}`, "filter.labels.k", "a string"},
		{`{"action":"suspend","filter":{"name":"a"}}`, "filter.name", "is not a field"},
		{`{"action":"stop","filter":{"all":true},"grace_period_seconds":3601}`, "grace_period_seconds", "0 to 3600"},
		{`{"action":"stop","filter":{"all":true},"dry_run":1}`, "dry_run", "true or false"},
	}
}

// badBodies are JSON bodies with one fault each, and the field that is blamed.
func badBodies() map[string][]badBody {
	type row = badBody
	change := []row{
		{`{"reason":7}`, "reason", "a string"},
		{`{"reason":"` + strings.Repeat("r", maxReason+1) + `"}`, "reason", "at most 256"},
		{`{"why":"x"}`, "why", "is not a field"},
	}
	broken := []row{
		{`{"name": "a",`, "body", "malformed JSON at byte 13"},
		{`{"a":1}}`, "body", "malformed JSON at byte 8"},
		{"{\"a\":\"\xff\"}", "body", "byte 6: not UTF-8"},
		{`[1]`, "body", "got an array"},
		{`"x"`, "body", "got a string"},
		{`null`, "body", "got null"},
		{"  ", "body", "is empty"},
	}
	return map[string][]row{
		"/agents":            slices.Concat(badLimits(), badDeploys(), broken),
		"/agents/a/messages": append(badMessages(), broken...),
		"/messages":          append(badPosts(), broken...),
		"/emergency/stop": append([]badBody{
			{`{"preserve_state":true}`, "dump_to", "must name a directory"}, {`{"cluster":1}`, "cluster", "true or false"},
			{`{"dump_to":1}`, "dump_to", "a string"}, {`{"agents":[]}`, "agents", "is not a field"},
			{`{"cluster":true,"reason":"` + strings.Repeat("r", maxReason+1) + `"}`, "reason", "at most 256"},
		}, broken...),
		"/circuit-breakers": append(badBreakerOrders(), broken...),
		"/emergency/lift":   slices.Concat(change, broken),
		"/queue/drain":      append(badDrains(), broken...),
		"/memory/gc":        append([]badBody{{`{"aggressive":1}`, "aggressive", "true or false"}, {`{"x":1}`, "x", "is not a field"}}, broken...),
		"/agents/actions":   append(badActions(), broken...),
		"/agents/a/suspend": slices.Concat(change, broken),
		"/agents/a/resume":  slices.Concat(change, broken),
		"/agents/a/restart": slices.Concat(change, broken),
		"/agents/a/stop":    slices.Concat(badStops(), change, broken),
	}
}

func TestBadBodies(t *testing.T) {
	r := start(t, nil)
	r.deploy(t, "a")
	for path, rows := range badBodies() {
		for _, tc := range rows {
			t.Run(path+" "+tc.field+" "+tc.reason, func(t *testing.T) {
				got := post(t, r, base+path, tc.body)
				wantFault(t, wantProblem(t, got, http.StatusBadRequest, CodeInvalidRequest), tc.field, tc.reason)
			})
		}
	}
	if n := r.node.seen(); n != 0 {
		t.Errorf("%d invalid requests reached Commands", n)
	}
}

func wantFault(t *testing.T, p Problem, field, reason string) {
	t.Helper()
	if len(p.Errors) != 1 || p.Errors[0].Field != field || !strings.Contains(p.Errors[0].Reason, reason) {
		t.Errorf("got faults %v, want one of %q with %q", p.Errors, field, reason)
	}
	if !strings.Contains(p.Detail, field) {
		t.Errorf("detail %q does not name %q", p.Detail, field)
	}
}

// TestBadUpdates are refused before they reach the node.
func TestBadUpdates(t *testing.T) {
	r := start(t, nil)
	r.deploy(t, "a")
	for _, tc := range []struct{ media, query, body, field, reason string }{
		{typeJSON, "", `{}`, "body", "names nothing to change"},
		{typeJSON, "", `{"reason":"why"}`, "body", "names nothing to change"},
		{typeJSON, "", `{"wasm_module":""}`, "wasm_module", "must not be empty"},
		{typeJSON, "", `{"wasm_module":"*"}`, "wasm_module", "base64"},
		{typeJSON, "", `{"resource_limits":{"max_fuel":0}}`, "resource_limits.max_fuel", "greater than 0"},
		{typeJSON, "", `{"resource_limits":{"max_feul":1}}`, "resource_limits.max_feul", "is not a field"},
		{typeJSON, "", `{"priority":"urgent"}`, "priority", "must be one of low"},
		{typeJSON, "", `{"labels":{"":"v"}}`, "labels", "1 to 63"},
		{typeJSON, "", `{"labels":[]}`, "labels", "JSON object"},
		{typeJSON, "", `{"name":"b"}`, "name", "is not a field"},
		{typeJSON, "?dry_run=yes", `{"priority":"low"}`, "dry_run", "true or false"},
		{typeJSON, "?priority=low", `{"priority":"low"}`, "priority", "goes into the body"},
		{typeJSON, "?colour=red", `{"priority":"low"}`, "colour", "known: dry_run"},
		{typeWasm, "", "", "wasm_module", "must not be empty"},
		{typeWasm, "?max_fuel=x", emptyWasm, "max_fuel", "whole number"},
		{typeWasm, "?priority=urgent", emptyWasm, "priority", "must be one of low"},
		{typeWasm, "?label=x", emptyWasm, "label", "key=value"},
		{typeWasm, "?reason=" + strings.Repeat("r", maxReason+1), emptyWasm, "reason", "at most 256"},
	} {
		got := exchange(t, r, "PUT", base+"/agents/a"+tc.query, tc.body, "Content-Type", tc.media)
		wantFault(t, wantProblem(t, got, http.StatusBadRequest, CodeInvalidRequest), tc.field, tc.reason)
	}
	if n := r.node.seen(); n != 0 {
		t.Errorf("%d invalid requests reached Commands", n)
	}
}

func TestAllFaultsAtOnce(t *testing.T) {
	r := start(t, nil)
	got := post(t, r, base+"/agents", `{"name":"","wasm_module":"*","resource_limits":{"max_fuel":0,"x":1},"priority":"p","y":1}`)
	p := wantProblem(t, got, 400, CodeInvalidRequest)
	var fields []string
	for _, e := range p.Errors {
		fields = append(fields, e.Field)
	}
	if s := strings.Join(fields, " "); s != "name wasm_module resource_limits.max_fuel resource_limits.x priority y" {
		t.Errorf("faults of %s", s)
	}
}

// TestFaultsAreBounded: an answer does not grow with the number of faults.
func TestFaultsAreBounded(t *testing.T) {
	r := start(t, nil)
	body := map[string]int{}
	for i := range 5000 {
		body[fmt.Sprintf("%d%s", i, strings.Repeat("k", 100))] = i
	}
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	got := post(t, r, base+"/agents", string(b))
	if p := wantProblem(t, got, 400, CodeInvalidRequest); len(p.Errors) != maxFaults || len(got.body) > 16<<10 {
		t.Errorf("%d faults in %d bytes", len(p.Errors), len(got.body))
	}
}

func TestBadQueries(t *testing.T) {
	r := start(t, nil)
	r.deploy(t, "a")
	const wasm = "?name=a&"
	for _, tc := range []struct{ method, path, field, reason string }{
		{"GET", "/agents?limit=0", "limit", "1 to 1000"},
		{"GET", "/agents?limit=1001", "limit", "1 to 1000"},
		{"GET", "/agents?limit=", "limit", "whole number"},
		{"GET", "/agents?limit=x", "limit", "whole number"},
		{"GET", "/agents?limit=1&limit=2", "limit", "once"},
		{"GET", "/agents?cursor=1", "cursor", "needs a limit"},
		{"GET", "/agents?limit=1&cursor=zzz", "cursor", "not given"},
		{"GET", "/agents?limt=1", "limt", "not a parameter"},
		{"GET", "/agents?limit=%zz", "query", "URL-encoded"},
		{"GET", "/agents/a?x=1", "x", "it has none"},
		{"GET", "/slow-agents?threshold=1", "threshold", "a duration"},
		{"GET", "/slow-agents?threshold=2h", "threshold", "at most 1h"},
		{"GET", "/cluster/performance?window=6m", "window", "at most 5m"},
		{"GET", "/cluster/performance?window=", "window", "a duration"},
		{"GET", "/agents/a/events?from=-1", "from", "whole number"},
		{"GET", "/agents/a/messages?from=-1", "from", "whole number"},
		{"GET", "/agents/a/messages?limit=1001", "limit", "1 to 1000"},
		{"GET", "/agents/a/messages?direction=up", "direction", "forwards or backwards"},
		{"GET", "/agents/a/messages?waiting=perhaps", "waiting", "true or false"},
		{"GET", "/agents/a/events?limit=0", "limit", "1 to 1000"},
		{"GET", "/agents/a/events?limit=1001", "limit", "1 to 1000"},
		{"GET", "/agents/a/events?direction=sideways", "direction", "forwards or backwards"},
		{"POST", "/agents/a/messages?wait=61s", "wait", "at most 1m0s"},
		{"POST", "/agents/a/messages?wait=-1s", "wait", "duration"},
		{"POST", "/agents/a/messages?wait=5", "wait", "duration"},
		{"POST", "/agents/a/messages?wait=", "wait", "duration"},
		{"POST", "/agents?name=x", "name", "goes into the body"},
		{"WASM", "/agents", "name", "must not be empty"},
		{"WASM", "/agents" + wasm + "unique_name=1", "unique_name", "true or false"},
		{"WASM", "/agents" + wasm + "max_fuel=0", "max_fuel", "greater than 0"},
		{"WASM", "/agents" + wasm + "max_fuel=", "max_fuel", "whole number"},
		{"WASM", "/agents" + wasm + "max_memory_bytes=99999999999999", "max_memory_bytes", "at most"},
		{"WASM", "/agents" + wasm + "max_execution_time_ms=5s", "max_execution_time_ms", "whole number"},
		{"WASM", "/agents" + wasm + "priority=urgent", "priority", "must be one of low"},
		{"WASM", "/agents" + wasm + "label=x", "label", "key=value"},
		{"WASM", "/agents" + wasm + "label=%ff=v", "label", "UTF-8"},
		{"WASM", "/agents" + wasm + "label=" + url.QueryEscape("=v"), "labels", "1 to 63"},
		{"WASM", "/agents" + wasm + "colour=red", "colour", "known: name"},
	} {
		t.Run(tc.method+" "+tc.path, func(t *testing.T) {
			method, media, body := tc.method, typeJSON, "{}"
			if method == "WASM" {
				method, media, body = "POST", typeWasm, emptyWasm
			} else if tc.path == "/agents?name=x" {
				body = `{"name":"a",` + okModule + `}`
			}
			got := exchange(t, r, method, base+tc.path, body, "Content-Type", media)
			wantFault(t, wantProblem(t, got, 400, CodeInvalidRequest), tc.field, tc.reason)
		})
	}
	got := exchange(t, r, "POST", base+"/agents?name=a", "", "Content-Type", typeWasm)
	wantFault(t, wantProblem(t, got, 400, CodeInvalidRequest), "wasm_module", "must not be empty")
	if n := r.node.seen(); n != 0 {
		t.Errorf("%d invalid requests reached Commands", n)
	}
}

func TestBadHeaders(t *testing.T) {
	r := start(t, nil)
	r.deploy(t, "a")
	for _, tc := range []struct{ method, name, value, reason string }{
		{"POST", HeaderKey, strings.Repeat("k", 256), "must be 1 to 255 bytes, got 256"},
		{"POST", HeaderKey, "", "must be 1 to 255 bytes, got 0"},
		{"POST", HeaderKey, "  ", "must be 1 to 255 bytes, got 0"},
		{"POST", HeaderKey, "a b", "printable"},
		{"POST", HeaderKey, "é", "printable"},
		{"GET", HeaderMinPosition, "x", "a whole number"},
		{"GET", HeaderMinPosition, "-1", "a whole number"},
		{"GET", HeaderMinPosition, "9223372036854775808", "a whole number"},
	} {
		path := base + "/agents/a"
		if tc.method == "POST" {
			path += "/messages"
		}
		got := exchange(t, r, tc.method, path, "", tc.name, tc.value)
		wantFault(t, wantProblem(t, got, 400, CodeInvalidRequest), tc.name, tc.reason)
	}
	for _, key := range []string{"k", ""} {
		got := exchange(t, r, "POST", base+"/dead-letters/"+events.NewMessageID().String()+"/retry", "", HeaderKey, key)
		wantFault(t, wantProblem(t, got, 400, CodeInvalidRequest), HeaderKey, "is not taken by this call")
	}
	if _, err := r.RestartOnce(t.Context(), "a", "", ""); err == nil || !strings.Contains(err.Error(), "must be 1 to 255 bytes") {
		t.Errorf("RestartOnce without a key: %v", err)
	}
	if n := r.node.seen(); n != 0 {
		t.Errorf("%d invalid requests reached Commands", n)
	}
}

func TestTraceParent(t *testing.T) {
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for in, want := range map[string]bool{
		good: true, "": false, good + "0": false, strings.ToUpper(good): false,
		"01" + good[2:]: false,
		"00-00000000000000000000000000000000-b7ad6b7169203331-01": false,
		"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01": false,
		"00-0af7651916cd43dd8448eb211c80319cxb7ad6b7169203331-01": false,
	} {
		if got := validTraceParent(in); got != want {
			t.Errorf("validTraceParent(%q) = %v", in, got)
		}
	}
	r := start(t, nil)
	r.deploy(t, "a")
	post(t, r, base+"/agents/a/suspend", "{}", "traceparent", good)
	if r.node.command.TraceParent != good {
		t.Errorf("trace %q was not carried", r.node.command.TraceParent)
	}
}

func TestBadReferences(t *testing.T) {
	r := start(t, nil)
	r.deploy(t, "a")
	for _, rt := range routes() {
		if !strings.Contains(rt.path, ":id") {
			continue
		}
		body := "{}"
		if rt.method == http.MethodPut {
			body = `{"priority":"low"}`
		}
		path := func(ref string) string { return strings.Replace(rt.path, ":id", ref, 1) }
		wantProblem(t, exchange(t, r, rt.method, path("nobody"), body, "Content-Type", typeJSON), 404, CodeAgentNotFound)
		wantProblem(t, exchange(t, r, rt.method, path(strings.Repeat("x", maxRef+1)), body, "Content-Type", typeJSON), 400, CodeInvalidRequest)
	}
	if n := r.node.seen(); n != 0 {
		t.Errorf("%d invalid requests reached Commands", n)
	}
}
