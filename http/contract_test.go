package http

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
)

func TestMeta(t *testing.T) {
	r := start(t, nil)
	ctx := context.Background()
	if err := r.Health(ctx); err != nil {
		t.Error(err)
	}
	if b, err := r.Version(ctx); err != nil || b.Version == "" {
		t.Errorf("Version() = %+v, %v", b, err)
	}
	if ready, err := r.Ready(ctx); err != nil || !ready.Ready {
		t.Errorf("Ready() = %+v, %v", ready, err)
	}
	if got := get(t, r, "/api/v1/health"); got.body != healthy || got.status != 200 {
		t.Errorf("health: %d %q", got.status, got.body)
	}
}

func TestNotReadySaysWhy(t *testing.T) {
	missing := []events.FieldError{{Field: "projections", Reason: "at position 3 of 9"}}
	r := start(t, func(_ *Config, d *Deps) { d.NotReady = func() []events.FieldError { return missing } })
	_, err := r.Ready(context.Background())
	p := problem(t, err)
	if p.Code != CodeNotReady || p.Status != 503 || p.RetryAfter == "" {
		t.Errorf("got %+v", p)
	}
	if diff := cmp.Diff(missing, p.Errors); diff != "" {
		t.Error(diff)
	}
}

func TestReadyWarns(t *testing.T) {
	warnings := []events.FieldError{{Field: "disk", Reason: "86.0 % of it is used"}}
	r := start(t, func(_ *Config, d *Deps) { d.Warnings = func() []events.FieldError { return warnings } })
	ready, err := r.Ready(context.Background())
	if err != nil || !ready.Ready {
		t.Fatalf("%+v, %v", ready, err)
	}
	if diff := cmp.Diff(warnings, ready.Warnings); diff != "" {
		t.Error(diff)
	}
}

func TestAgentLife(t *testing.T) {
	r := start(t, nil)
	ctx := context.Background()
	list, err := r.Agents(ctx)
	if err != nil || list == nil || len(list) != 0 {
		t.Fatalf("Agents() of nobody = %v, %v", list, err)
	}
	limits := events.ResourceLimits{MaxMemoryBytes: 10 << 20, MaxFuel: 1_000_000, MaxExecutionTimeMS: 5000}
	made, err := r.Deploy(ctx, Deployment{Name: "  pro cess/or ", Wasm: []byte(emptyWasm)})
	if p := problem(t, err); p.Code != CodeInvalidRequest {
		t.Fatalf("a name with a slash: %+v, %+v", made, p)
	}
	made, err = r.Deploy(ctx, Deployment{
		Name: " päck 100% ", UniqueName: true, Wasm: []byte(emptyWasm), Limits: limits,
		Priority: events.High, Labels: events.Labels{"tier": "front=end", "empty": ""}, IdempotencyKey: "k-1",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := actors.DeployRequest{
		Caller: actors.Caller{Principal: "user:anonymous", IdempotencyKey: "k-1"},
		Name:   "päck 100%", UniqueName: true, Wasm: []byte(emptyWasm), Limits: limits,
		Priority: events.High, Labels: events.Labels{"tier": "front=end", "empty": ""},
	}
	if diff := cmp.Diff(want, r.node.deployed); diff != "" {
		t.Error(diff)
	}
	for _, ref := range []string{made.ID.String(), made.ID.String()[:8], "päck 100%"} {
		got, err := r.Agent(ctx, ref)
		if diff := cmp.Diff(made, got); err != nil || diff != "" {
			t.Errorf("Agent(%q): %v %s", ref, err, diff)
		}
	}
	if got, err := r.Suspend(ctx, made.Name, "too slow"); err != nil || got.Status != "suspended" {
		t.Errorf("Suspend: %+v, %v", got, err)
	}
	if r.node.command.Reason != "too slow" || r.node.command.Agent != made.ID {
		t.Errorf("command %+v", r.node.command)
	}
	if got, err := r.Resume(ctx, made.ID.String(), ""); err != nil || got.Status != "running" {
		t.Errorf("Resume: %+v, %v", got, err)
	}
	if got, err := r.Stop(ctx, made.Name, Stopping{Reason: "night", Grace: 5 * time.Second, Drain: true}); err != nil || got.Status != "draining" {
		t.Errorf("Stop: %+v, %v", got, err)
	}
	if q := r.node.stop; !q.Drain || q.Grace != 5*time.Second || q.Reason != "night" || q.Agent != made.ID || q.Principal != principal {
		t.Errorf("stop %+v", q)
	}
	if got, err := r.Stop(ctx, made.Name, Stopping{}); err != nil || got.Status != "stopped" || r.node.stop.Drain || r.node.stop.Grace != 0 {
		t.Errorf("Stop at once: %+v, %v", got, err)
	}
	if got := post(t, r, base+"/agents/"+made.ID.String()+"/stop", "{}"); got.status != 200 || !r.node.stop.Drain || r.node.stop.Grace != DefaultGrace {
		t.Errorf("Stop as it comes: %d %+v", got.status, r.node.stop)
	}
	r.node.busy = true
	if got, err := r.Stop(ctx, made.Name, Stopping{Drain: true, Grace: time.Minute}); err != nil || !got.Requested || got.ID != made.ID || r.node.stop.Patience != stopPatience {
		t.Errorf("Stop behind a busy guest: %+v, %v", got, err)
	}
	if got := post(t, r, base+"/agents/"+made.ID.String()+"/stop", "{}"); got.status != 202 || !strings.Contains(string(got.body), `"stop_requested":true`) {
		t.Errorf("Stop behind a busy guest: %d %s", got.status, got.body)
	}
	if got, err := r.RestartOnce(ctx, made.Name, "why", "k"); err != nil || got.Status != "running" || r.node.command.IdempotencyKey != "k" {
		t.Errorf("restarted under a key: %+v, %v, %+v", got, err, r.node.command)
	}
	if got, err := r.Restart(ctx, made.Name, "why"); err != nil || got.Status != "running" || r.node.command.Reason != "why" {
		t.Errorf("Restart: %+v, %v", got, err)
	}
	if wasm, err := r.Module(ctx, made.Name); err != nil || string(wasm) != emptyWasm {
		t.Errorf("Module: %q, %v", wasm, err)
	}
	if err := r.Remove(ctx, made.Name); err != nil {
		t.Error(err)
	}
	_, err = r.Agent(ctx, made.ID.String())
	if p := problem(t, err); p.Code != CodeAgentNotFound || p.Status != 404 {
		t.Errorf("after Remove: %+v", p)
	}
	page, next, err := r.Events(ctx, made.ID.String(), EventQuery{})
	if err != nil || next != nil || len(page) != 9 {
		t.Errorf("history of a removed agent: %d events, next %v, %v", len(page), next, err)
	}
}

func TestRunbookDeployment(t *testing.T) {
	r := start(t, nil)
	got := post(t, r, "/api/v1/agents", `{
    "name": "production-agent-1",
    "wasm_module": "AGFzbQEAAAA=",
    "resource_limits": {
      "max_memory_bytes": 10485760,
      "max_fuel": 1000000,
      "max_execution_time_ms": 5000
    }
  }`)
	if got.status != http.StatusCreated {
		t.Fatalf("status %d: %s", got.status, got.body)
	}
	id := r.node.order[0].String()
	if got.header.Get("Location") != "/api/v1/agents/"+id || got.header.Get(HeaderPosition) != "1" {
		t.Errorf("headers %v", got.header)
	}
	want := `{"id":"` + id + `","name":"production-agent-1","status":"running",` +
		`"module_sha256":"` + string(events.HashModule([]byte(emptyWasm))) + `","module_size":8,` +
		`"resource_limits":{"max_memory_bytes":10485760,"max_fuel":1000000,"max_execution_time_ms":5000},` +
		`"priority":"normal","labels":{},"node":"node-1","revision":0,` +
		`"created_at":"2026-01-02T03:04:05Z","updated_at":"2026-01-02T03:04:05Z","capabilities":[],` +
		`"fuel_used":0,"messages_handled":0,"messages_failed":0,"snapshotable":true}`
	if got.body != want {
		t.Error(cmp.Diff(want, got.body))
	}
	if list := get(t, r, "/api/v1/agents"); list.body != "["+want+"]" || list.header.Get(HeaderTotal) != "1" {
		t.Errorf("list %s (total %s)", list.body, list.header.Get(HeaderTotal))
	}
}

func TestOmittedLimitsTakeTheDefaults(t *testing.T) {
	r := start(t, nil)
	for _, body := range []string{
		`{"name":"a","wasm_module":"AGFzbQEAAAA="}`,
		`{"name":"a","wasm_module":"AGFzbQEAAAA=","resource_limits":{}}`,
	} {
		if got := post(t, r, "/api/v1/agents", body); got.status != http.StatusCreated {
			t.Fatalf("%s: %d %s", body, got.status, got.body)
		}
		if diff := cmp.Diff(events.DefaultLimits(), r.node.deployed.Limits); diff != "" {
			t.Error(diff)
		}
	}
}

func TestListPages(t *testing.T) {
	r := start(t, nil)
	ctx := context.Background()
	const total = 2*streamPage + 3
	for i := range total {
		r.deploy(t, fmt.Sprintf("agent-%d", i))
	}
	all, err := r.Agents(ctx)
	if err != nil || len(all) != total {
		t.Fatalf("streamed %d of %d agents, %v", len(all), total, err)
	}
	var paged []string
	cursor := ""
	for {
		page, err := r.AgentPage(ctx, cursor, 200)
		if err != nil || page.Total != total {
			t.Fatalf("total %d, %v", page.Total, err)
		}
		for _, v := range page.Agents {
			paged = append(paged, v.Name)
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	for i, v := range all {
		if v.Name != fmt.Sprintf("agent-%d", i) || paged[i] != v.Name {
			t.Fatalf("place %d: streamed %q, paged %q", i, v.Name, paged[i])
		}
	}
}

// TestStreamBreaksOffOnError: a list that cannot be finished must not look
// finished.
func TestStreamBreaksOffOnError(t *testing.T) {
	r := start(t, func(_ *Config, d *Deps) { d.Agents = &brokenList{Agents: d.Agents} })
	for range 2 {
		r.deploy(t, "a")
	}
	_, err := r.Agents(context.Background())
	var ue *UnreachableError
	if !errors.As(err, &ue) {
		t.Errorf("got %v, want an *UnreachableError", err)
	}
}

type brokenList struct{ Agents }

func (b *brokenList) List(cursor string, _ int) (p projections.Page, err error) {
	if cursor != "" {
		return p, events.ErrClosed
	}
	return b.Agents.List("", 1)
}

func TestMessages(t *testing.T) {
	r := start(t, nil)
	ctx := context.Background()
	id := r.deploy(t, "echo")
	by := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	got, err := r.Send(ctx, "echo", Outgoing{
		Performative: "query-ref", Content: []byte(`{"n": 1}`), ConversationID: "conv", ReplyWith: "rw", InReplyTo: "irt",
		ReplyBy: &by, Protocol: "query", Language: "json", Ontology: "o", Priority: events.Critical, IdempotencyKey: "key",
	})
	if err != nil || got.Reply != nil || got.Status != actors.Handled || got.ConversationID != "c-1" || got.MessageID.IsZero() {
		t.Errorf("Send = %+v, %v", got, err)
	}
	want := actors.SendRequest{
		Caller: actors.Caller{Principal: "user:anonymous", IdempotencyKey: "key"}, To: id, Ref: "echo",
		Message: events.Message{
			Performative: events.QueryRef, Sender: "user:anonymous", Receiver: id.String(), Content: []byte(`{"n":1}`),
			ConversationID: "conv", ReplyWith: "rw", InReplyTo: "irt", ReplyBy: &by, Protocol: "query", Language: "json",
			Ontology: "o", Priority: events.Critical,
		},
	}
	if diff := cmp.Diff(want, r.node.sent); diff != "" {
		t.Error(diff)
	}
	got, err = r.Send(ctx, "echo", Outgoing{Content: []byte(`"hi"`), Wait: 5 * time.Second})
	if err != nil || got.Reply == nil || string(got.Reply.Content) != `"hi"` || r.node.sent.Wait != 5*time.Second {
		t.Errorf("Send with wait = %+v, %v", got, err)
	}
	if _, err = r.Send(ctx, "echo", Outgoing{ContentBase64: []byte{0, 1, 2}}); err != nil || string(r.node.sent.Message.ContentBase64) != "\x00\x01\x02" {
		t.Errorf("bytes arrived as %q, %v", r.node.sent.Message.ContentBase64, err)
	}
}

func TestMessageStatusCodes(t *testing.T) {
	r := start(t, nil)
	r.deploy(t, "echo")
	for _, tc := range []struct {
		query  string
		status actors.Delivery
		want   int
	}{
		{"", actors.Handled, 202}, {"?wait=0", actors.Handled, 202}, {"?wait=1s", actors.Handled, 200},
		{"?wait=1s", actors.Failed, 200}, {"?wait=1s", actors.Quarantined, 200},
		{"?wait=1s", actors.Queued, 202}, {"?wait=60s", actors.Held, 202},
	} {
		r.node.onSend = func(context.Context, actors.SendRequest) (actors.Sent, error) {
			return actors.Sent{Status: tc.status, Position: 42}, nil
		}
		got := post(t, r, "/api/v1/agents/echo/messages"+tc.query, `{}`)
		if got.status != tc.want || !strings.Contains(got.body, string(tc.status)) || got.header.Get(HeaderPosition) != "42" {
			t.Errorf("%s %s: %d %s", tc.query, tc.status, got.status, got.body)
		}
	}
}

// TestReceiverInTheBody: the conversation, or what stands for it, decides whom a
// capability means, and the same request means the same agent.
func TestReceiverInTheBody(t *testing.T) {
	r := start(t, nil)
	id := r.deploy(t, "echo")
	r.node.onSend = func(_ context.Context, s actors.SendRequest) (actors.Sent, error) {
		if s.To != id || s.Message.Receiver != id.String() {
			t.Errorf("sent to %s, %q", s.To, s.Message.Receiver)
		}
		return actors.Sent{MessageID: s.Message.ID, ConversationID: s.Message.ConversationID, Status: actors.Handled}, nil
	}
	send := func(m Outgoing) MessageReceipt {
		t.Helper()
		got, err := r.Send(context.Background(), "echo", m)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if send(Outgoing{ConversationID: "talk"}); r.node.conversation != "talk" {
		t.Errorf("of a conversation: %q", r.node.conversation)
	}
	if got := send(Outgoing{}); r.node.conversation != got.ConversationID || got.ConversationID != got.MessageID.String() {
		t.Errorf("of a new one: %q, want %q", r.node.conversation, got.ConversationID)
	}
	send(Outgoing{IdempotencyKey: "k1"})
	first := r.node.conversation
	if send(Outgoing{IdempotencyKey: "k1"}); first == "" || r.node.conversation != first {
		t.Errorf("of a key: %q and then %q", first, r.node.conversation)
	}
	wantProblem(t, post(t, r, "/api/v1/messages", `{"receiver":"nobody"}`), 404, CodeAgentNotFound)
}

// TestReceiverOfARepeatedRequest: an agent may have it though the receiver means none by
// now, which whoever knows that is told; without a key there is nobody to ask.
func TestReceiverOfARepeatedRequest(t *testing.T) {
	r := start(t, nil)
	for path, body := range map[string]string{"/messages": `{"receiver":"gone"}`, "/agents/gone/messages": `{}`} {
		asked := 0
		r.node.onSend = func(_ context.Context, s actors.SendRequest) (actors.Sent, error) {
			asked++
			if !s.To.IsZero() || s.Ref != "gone" || !errors.Is(s.Unfound, events.ErrAgentNotFound) {
				t.Errorf("%s: sent to %s, %q, %v", path, s.To, s.Ref, s.Unfound)
			}
			return actors.Sent{Status: actors.Handled}, nil
		}
		wantProblem(t, post(t, r, base+path, body), 404, CodeAgentNotFound)
		if got := post(t, r, base+path, body, HeaderKey, "k"); got.status != 202 || asked != 1 {
			t.Errorf("%s: %d %s, asked %d times", path, got.status, got.body, asked)
		}
	}
}

// TestReceiverThatReadsDoNotKnowYet: whoever was told that something is durable finds it
// with the next message.
func TestReceiverThatReadsDoNotKnowYet(t *testing.T) {
	r := start(t, nil)
	r.deploy(t, "echo")
	r.node.late = true
	if _, err := r.Send(context.Background(), "echo", Outgoing{}); err != nil {
		t.Errorf("after a wait: %v", err)
	}
	r.node.late, r.node.lag = true, true
	if _, err := r.Send(context.Background(), "echo", Outgoing{}); err == nil || !strings.Contains(err.Error(), "agent not found") {
		t.Errorf("of reads that never get there: %v, want an agent that is not found", err)
	}
}

func TestMessageAndConversation(t *testing.T) {
	r := start(t, nil)
	ctx := context.Background()
	m, err := r.Message(ctx, messageSaid().String())
	if err != nil || m.ID != messageSaid() || m.Status != projections.MessageHandled || m.Position != 7 || m.Fuel != 5 {
		t.Errorf("%+v, %v", m, err)
	}
	talk, err := r.Conversation(ctx, conversationHeld)
	if err != nil || talk.State != "completed" || len(talk.Messages) != 1 || len(talk.Parties) != 2 || talk.Truncated {
		t.Errorf("%+v, %v", talk, err)
	}
	if len(talk.Exchanges) != 1 || talk.Exchanges[0].State != projections.StateUnanswered {
		t.Errorf("exchanges %+v", talk.Exchanges)
	}
	r.node.repeat = maxConversationEvents + 1
	if talk, err := r.Conversation(ctx, conversationHeld); err != nil || !talk.Truncated {
		t.Errorf("a long one: truncated %v, %v", talk.Truncated, err)
	}
	const api = "/api/v1"
	wantProblem(t, get(t, r, api+"/messages/"+events.NewMessageID().String()), 404, CodeMessageNotFound)
	wantProblem(t, get(t, r, api+"/messages/7"), 400, CodeInvalidRequest)
	wantProblem(t, get(t, r, api+"/conversations/nothing"), 404, CodeNoConversation)
	wantProblem(t, get(t, r, api+"/conversations/"+strings.Repeat("x", events.MaxFieldLength+1)), 400, CodeInvalidRequest)
}

func TestEventPages(t *testing.T) {
	r := start(t, nil)
	ctx := context.Background()
	id := r.deploy(t, "a")
	for range 4 {
		r.node.record(id, events.AgentSuspended{Reason: "why"})
	}
	for _, dir := range []events.Direction{events.Forwards, events.Backwards} {
		var got []uint64
		for q := (&EventQuery{Limit: 2, Direction: dir}); q != nil; {
			page, next, err := r.Events(ctx, "a", *q)
			if err != nil {
				t.Fatal(err)
			}
			for _, ev := range page {
				got = append(got, uint64(ev.Revision))
			}
			q = next
		}
		want := []uint64{0, 1, 2, 3, 4}
		if dir == events.Backwards {
			want = []uint64{4, 3, 2, 1, 0}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	page, _, err := r.Events(ctx, id.String(), EventQuery{From: new(events.Revision(1)), Limit: 1})
	if err != nil || len(page) != 1 {
		t.Fatal(page, err)
	}
	ev := page[0]
	if ev.Type != "AgentSuspended" || string(ev.Data) != `{"reason":"why"}` || ev.Stream != events.AgentStream(id) ||
		string(ev.Metadata) != `{"schemaVersion":1,"member":"node-1"}` || ev.Position != 2 {
		t.Errorf("event %+v", ev)
	}
	_, _, err = r.Events(ctx, events.NewAgentID().String(), EventQuery{})
	if p := problem(t, err); p.Code != CodeAgentNotFound {
		t.Errorf("unknown agent: %+v", p)
	}
}

// TestEventPageIsBounded: a page ends before it holds more than maxPageBytes.
func TestEventPageIsBounded(t *testing.T) {
	r := start(t, nil)
	id := r.deploy(t, "big")
	s := events.AgentStream(id)
	for i := range 8 {
		r.node.history[s] = append(r.node.history[s], events.Recorded{Stream: s, Revision: events.Revision(i + 1),
			Event: events.Event{Type: events.TypeModuleChunk, ContentType: events.Binary, Data: make([]byte, 900<<10)}})
	}
	count, pages := 0, 0
	for q := (&EventQuery{}); q != nil; pages++ {
		page, next, err := r.Events(context.Background(), "big", *q)
		if err != nil {
			t.Fatal(err)
		}
		count, q = count+len(page), next
	}
	if count != 9 || pages < 2 {
		t.Errorf("%d events in %d pages", count, pages)
	}
}

func TestAmbiguousReferenceListsTheIDs(t *testing.T) {
	r := start(t, nil)
	a, b := r.deploy(t, "twin"), r.deploy(t, "twin")
	_, err := r.Agent(context.Background(), "twin")
	p := problem(t, err)
	if p.Status != 409 || p.Code != CodeAmbiguous {
		t.Errorf("got %+v", p)
	}
	if diff := cmp.Diff([]events.AgentID{a, b}, p.Matches); diff != "" {
		t.Error(diff)
	}
}

func TestReadsNameTheirPosition(t *testing.T) {
	r := start(t, nil)
	r.deploy(t, "a")
	for _, path := range []string{"/agents", "/agents?limit=1", "/agents/a", "/agents/a/events", "/agents/a/module"} {
		if got := get(t, r, base+path); got.status != 200 || got.header.Get(HeaderPosition) != "1" {
			t.Errorf("%s: %d, position %q", path, got.status, got.header.Get(HeaderPosition))
		}
	}
}

func TestMinPosition(t *testing.T) {
	r := start(t, nil)
	r.deploy(t, "a")
	if got := get(t, r, base+"/agents/a", HeaderMinPosition, "1"); got.status != 200 {
		t.Errorf("a position that is there: %d %s", got.status, got.body)
	}
	r.node.lag = true
	if got := get(t, r, base+"/agents/a", HeaderMinPosition, "9"); got.status != 504 || got.header.Get(HeaderPosition) != "1" {
		t.Errorf("a position that never comes: %d %s", got.status, got.body)
	}
}

// TestLaggingReads: a change that is durable succeeds although reads do not
// show it in time, and the answer says so.
func TestLaggingReads(t *testing.T) {
	r := start(t, nil)
	r.node.lag = true
	got := post(t, r, base+"/agents", `{"name":"late","wasm_module":"AGFzbQEAAAA="}`)
	if got.status != 201 || got.header.Get(HeaderStale) != "true" || !strings.Contains(got.body, `"name":"late"`) {
		t.Errorf("%d %v %s", got.status, got.header, got.body)
	}
}
