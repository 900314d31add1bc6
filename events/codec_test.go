package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// samples has one payload of every type, every field set.
func samples() []Payload {
	id := AgentID{0x11, 0x11, 6: 0x40, 8: 0x80}
	when := time.Date(2026, 2, 3, 4, 5, 6, 7000, time.UTC)
	rev := Revision(4)
	msg := Message{
		ID: MessageID{0x22}, Performative: Request, Sender: "user:ada", Receiver: id.String(),
		Content: json.RawMessage(`{"say":"hello"}`), ConversationID: "conv-1", ReplyWith: "r1", InReplyTo: "r0",
		ReplyBy: &when, Protocol: "fipa-request", Language: "en", Ontology: "greeting", Priority: High, Hops: 2, Sequence: 9,
	}
	reply := Message{ID: MessageID{0x33}, Performative: Inform, Sender: id.String(), Receiver: "user:ada", ContentBase64: []byte{0, 255}, ConversationID: "conv-1"}
	logs := []LogLine{{Level: LogWarn, Text: "careful"}}
	host := HostRecord{NowMicros: 1_770_000_000_000_000, Seed: 42}
	module := HashModule([]byte("wasm"))
	const key, body = "key-1", "0f0f"
	return []Payload{
		AgentDeployed{
			AgentID: id, Name: "greeter", Module: module, ModuleSize: 4, Limits: DefaultLimits(), Priority: Normal,
			Labels: Labels{"team": "blue"}, Warnings: []string{"handles no messages"}, RequestHash: body,
		},
		AgentSuspended{Reason: "maintenance"},
		AgentResumed{},
		AgentStormDetected{Ancestor: msg.ID, Conversations: []string{"conv-1", "conv-2"}, Agents: []AgentID{id}, Count: 5, Failures: 7, First: when, Last: when, WindowMS: 10_000},
		HistoryTrimmed{
			Before: 4000, Until: when, Events: 3000, Bytes: 1 << 20, RetentionMS: 86_400_000, Snapshots: []Revision{3999, 4999}, Settled: 70_000,
			Deployed:   AgentDeployed{AgentID: id, Name: "greeter", Module: module, ModuleSize: 4, Limits: DefaultLimits(), Priority: Normal, RequestHash: body},
			DeployedAt: when, Position: 12,
			Totals: AgentTotals{
				Module: HashModule([]byte("next")), ModuleSize: 5, Warnings: []string{"handles no messages"}, Limits: DefaultLimits(), Priority: High,
				Labels: Labels{"team": "red"}, Capabilities: []string{"greet"}, Timers: 1, FuelUsed: 9999, MessagesHandled: 4321, MessagesFailed: 21,
				LastError: &AgentError{OutcomeTrap, "unreachable", when}, UpdatedAt: when,
			},
			InboxNext: 300, InboxAhead: []Revision{301}, Seen: []SeenSend{{From: id, Class: High, Sequence: 17}},
		},
		DeadLetterRetried{MessageID: msg.ID, RetryID: reply.ID, Receiver: id},
		AgentUpdated{
			From: module, Module: HashModule([]byte("next")), ModuleSize: 5, Warnings: []string{"handles no messages"},
			Limits: new(DefaultLimits()), Priority: High, Labels: &Labels{"team": "red"}, Reason: "a fix",
			Migration: &Migration{Host: host, State: []StateChange{{Key: "n", Value: []byte{2}}}, Logs: logs, Fuel: 99, MeterVersion: 1},
		},
		AgentStopRequested{Reason: "upgrade of the host", GraceMS: 30_000, Until: when},
		AgentStopped{Reason: "upgrade of the host", Cause: StopDrained},
		AgentRestarted{Reason: "its cache is wrong", IdempotencyKey: `"user:ada""k-8"`, BodyHash: "0badf00d", At: &when},
		AgentRemoved{},
		MessageHandled{
			Message: msg, Outcome: OutcomeOK, Reply: &reply, Sends: []Message{reply}, Logs: logs,
			State: []StateChange{{Key: "n", Value: []byte{1}}, {Key: "old", Delete: true}},
			Host:  host, Fuel: 1234, MeterVersion: 1, Module: module, Inbox: &rev, IdempotencyKey: key, BodyHash: body,
		},
		MessageFailed{
			Message: msg, Outcome: OutcomeRefused, Detail: "status 3", Status: 3, Reply: &reply, Sends: []Message{reply}, Logs: logs,
			Host: host, Fuel: 7, MeterVersion: 1, Module: module, Inbox: &rev, IdempotencyKey: key, BodyHash: body,
		},
		MessageDeadLettered{Message: msg, Reason: DeadHopLimit, Detail: "1000 hops", Attempts: 1, Inbox: &rev, IdempotencyKey: key, BodyHash: body, At: &when},
		AgentCrashed{MessageID: msg.ID, Outcome: OutcomeTimeout, Detail: "5 s", Attempt: 2, BackoffMS: 200, At: when},
		AgentQuarantined{
			Message: msg, Outcome: OutcomeTrap, Detail: "unreachable", Attempts: 5, Reply: &reply, Sends: []Message{reply},
			Inbox: &rev, IdempotencyKey: key, BodyHash: body,
		},
		AgentFailed{Reason: "10 crashes within 1m0s, the last: Timeout", Crashes: 10, WindowMS: 60_000, Outcome: OutcomeTimeout},
		MessageReceived{Message: msg, IdempotencyKey: key, BodyHash: body},
		InboxSkipped{MessageID: msg.ID, Inbox: 4, HandledAt: 8},
		BreakerOpened{At: when, Cause: BreakerShare, Failures: 51, Of: 100, Forced: true, Ancestor: msg.ID, ConversationID: "conv-1"},
		BreakerHalfOpened{At: when},
		BreakerClosed{At: when, Cause: BreakerTrial},
		BreakerForced{At: when, Reason: "storm"},
		BreakerResetStarted{At: when, DurationMS: 600_000, Forced: true},
		EmergencyStopped{Reason: "smoke", Cluster: true},
		EmergencyLifted{},
		ClusterVersionRaised{From: 1, To: 2},
		ModuleUploaded{Module: module, Size: 4, Chunks: 1},
		BlobStored{Blob: HashBlob([]byte("blob")), Size: 4, Chunks: 1},
		TimerSet{
			Timer: 7, DueAt: when, Content: json.RawMessage(`{"wake":"up"}`), ContentBase64: []byte{0, 255},
			ConversationID: "conv-1", SetBy: msg.ID,
		},
		TimerFired{Timer: 7, MessageID: msg.ID},
		TimerCancelled{Timer: 7, CancelledBy: msg.ID},
		ConversationTimedOut{
			ConversationID: "conv-1", Protocol: "request", State: "agreed", Awaited: id, Open: 2, LastActivity: when,
		},
		CapabilityRegistered{Capability: "translate/en", RegisteredBy: msg.ID},
	}
}

// payloadTypes are the types of payloads_….go that have a method EventType, sorted.
func payloadTypes(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("payloads*.go")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv != nil && fn.Name.Name == "EventType" {
				names = append(names, fn.Recv.List[0].Type.(*ast.Ident).Name)
			}
		}
	}
	slices.Sort(names)
	return names
}

func TestSamplesAreEveryTypeWithEveryField(t *testing.T) {
	var have []string
	for _, p := range samples() {
		v := reflect.ValueOf(p)
		have = append(have, v.Type().Name())
		if string(p.EventType()) != v.Type().Name() {
			t.Errorf("%s calls itself %q", v.Type().Name(), p.EventType())
		}
		for i := range v.NumField() {
			if v.Field(i).IsZero() {
				t.Errorf("%s.%s is not set", v.Type().Name(), v.Type().Field(i).Name)
			}
		}
	}
	slices.Sort(have)
	if d := cmp.Diff(payloadTypes(t), have); d != "" {
		t.Errorf("types of payloads_….go (-) and samples (+):\n%s", d)
	}
}

func indent(t *testing.T, b []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := json.Indent(&buf, b, "", "  "); err != nil {
		t.Fatal(err)
	}
	return append(buf.Bytes(), '\n')
}

// indentContent makes payloads comparable whose raw JSON is spaced differently.
func indentContent(t *testing.T, p Payload) Payload {
	t.Helper()
	v := reflect.New(reflect.TypeOf(p)).Elem()
	v.Set(reflect.ValueOf(p))
	if f := v.FieldByName("Message"); f.IsValid() {
		m := f.Interface().(Message)
		m.Content = indent(t, m.Content)
		f.Set(reflect.ValueOf(m))
	}
	if f := v.FieldByName("Content"); f.IsValid() {
		f.SetBytes(indent(t, f.Bytes()))
	}
	return v.Interface().(Payload)
}

func TestDecodeRefuses(t *testing.T) {
	for _, typ := range []Type{"", "Unknown", "agentdeployed", TypeModuleChunk, TypeSnapshotTaken} {
		if _, err := Decode(Event{Type: typ, Data: []byte(`{}`)}); !errors.Is(err, ErrUnknownType) {
			t.Errorf("%q: %v, want ErrUnknownType", typ, err)
		}
	}
	for _, p := range samples() {
		for _, data := range []string{"", "[]", "{", `"x"`, `{}{}`} {
			_, err := Decode(Event{ID: EventID{9}, Type: p.EventType(), Data: []byte(data)})
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), string(p.EventType())) || !strings.Contains(err.Error(), EventID{9}.String()) {
				t.Errorf("%s of %q: %v, want a CorruptError that names the event", p.EventType(), data, err)
			}
		}
	}
}

func TestEncodeBounds(t *testing.T) {
	big := AgentSuspended{Reason: strings.Repeat("x", MaxAppendBytes)}
	if _, err := Encode(EventID{}, big, Metadata{}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
	if _, err := Encode(EventID{}, MessageReceived{Message: Message{Content: json.RawMessage("{")}}, Metadata{}); err == nil {
		t.Error("content that is not JSON was encoded")
	}
}

// TestEncodeKeepsContent: a replay gives the guest the bytes that the live run
// did, so nothing but white space around tokens may change.
func TestEncodeKeepsContent(t *testing.T) {
	for content, want := range map[string]string{
		`"<a href='x'>&amp;</a>"`: `"<a href='x'>&amp;</a>"`,
		`"\u003c"`:                `"\u003c"`,
		"\"\u2028\"":              "\"\u2028\"",
		`{"b":1,"a":1.0}`:         `{"b":1,"a":1.0}`,
		" [ 1 ,\n\"a b\" ] ":      `[1,"a b"]`,
	} {
		ev, err := Encode(EventID{}, MessageReceived{Message: Message{Content: json.RawMessage(content)}}, Metadata{})
		if err != nil {
			t.Fatal(err)
		}
		p, err := Decode(ev)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(p.(MessageReceived).Message.Content); got != want {
			t.Errorf("%q comes back as %q, want %q", content, got, want)
		}
	}
}

func TestMetadata(t *testing.T) {
	want := Metadata{CorrelationID: "a", CausationID: "b", SchemaVersion: 1, Actor: "c", Member: "n1#2", TraceParent: "d"}
	got, err := DecodeMetadata(want.Encode())
	if err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := DecodeMetadata(nil); err != nil || got != (Metadata{}) {
		t.Errorf("of no bytes: %+v, %v", got, err)
	}
	if _, err := DecodeMetadata([]byte("{")); !errors.Is(err, ErrCorrupt) {
		t.Errorf("of half an object: %v", err)
	}
}

// FuzzDecode: no panic, errors by name, and what was read is written as
// something that reads the same.
func FuzzDecode(f *testing.F) {
	for _, p := range samples() {
		b, err := json.Marshal(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(p.EventType()), b, Metadata{SchemaVersion: SchemaVersion(p.EventType())}.Encode())
		f.Add(string(p.EventType()), b, []byte{})
		f.Add(string(p.EventType()), b, []byte(`{"schemaVersion":99}`))
	}
	f.Add("Unknown", []byte("{}"), []byte("{}"))
	types := make([]string, 0, len(samples()))
	for _, p := range samples() {
		types = append(types, string(p.EventType()))
	}
	f.Fuzz(func(t *testing.T, typ string, data, metadata []byte) {
		p, err := Decode(Event{Type: Type(typ), Data: data, Metadata: metadata})
		if errors.Is(err, ErrNewerSchema) {
			v, bad := versionOf(metadata)
			if bad != nil || v <= SchemaVersion(Type(typ)) || !slices.Contains(types, typ) {
				t.Fatalf("%q with metadata %q: %v", typ, metadata, err)
			}
			return
		}
		if err != nil {
			if slices.Contains(types, typ) != errors.Is(err, ErrCorrupt) || slices.Contains(types, typ) == errors.Is(err, ErrUnknownType) {
				t.Fatalf("%q: %v", typ, err)
			}
			return
		}
		once, err := json.Marshal(p)
		if err != nil {
			t.Fatalf("%s was read and cannot be written: %v", typ, err)
		}
		ev := Event{Type: Type(typ), Data: once, Metadata: Metadata{SchemaVersion: SchemaVersion(Type(typ))}.Encode()}
		again, err := Decode(ev)
		if err != nil {
			t.Fatal(err)
		}
		twice, err := json.Marshal(again)
		if err != nil || !bytes.Equal(once, twice) {
			t.Errorf("%s is written as\n%s\nand then as\n%s (%v)", typ, once, twice, err)
		}
	})
}

func FuzzDecodeMetadata(f *testing.F) {
	f.Add(Metadata{CorrelationID: "a", SchemaVersion: 1}.Encode())
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeMetadata(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("error is %v", err)
			}
			return
		}
		again, err := DecodeMetadata(m.Encode())
		if err != nil || again != m {
			t.Errorf("%+v is written and read as %+v, %v", m, again, err)
		}
	})
}
