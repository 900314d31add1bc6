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
