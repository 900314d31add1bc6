package events

import "testing"

// BenchmarkDecode measures what every reader of events pays for each: the
// version of the metadata, and the payload.
func BenchmarkDecode(b *testing.B) {
	for _, p := range samples() {
		switch p.(type) {
		case AgentResumed, AgentFailed, AgentCrashed, MessageHandled:
		default:
			continue
		}
		ev, err := Encode(EventID{1}, p, Metadata{CorrelationID: "conversation-0123456789", CausationID: EventID{7}.String(), Actor: "user:ada", Member: "n1#1", TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(string(p.EventType()), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Decode(ev); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkVersionOf measures the version alone, scanned and parsed.
func BenchmarkVersionOf(b *testing.B) {
	md := Metadata{
		CorrelationID: "conversation-0123456789", CausationID: EventID{7}.String(), SchemaVersion: 1, Actor: "user:ada",
		Member: "n1#1", TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	}.Encode()
	for name, metadata := range map[string][]byte{"scanned": md, "parsed": append([]byte{' '}, md...)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if v, err := versionOf(metadata); err != nil || v != 1 {
					b.Fatal(v, err)
				}
			}
		})
	}
}
