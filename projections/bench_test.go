package projections

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caxton-run/caxton/events"
)

// BenchmarkIdleAgents measures what a deployed agent that does nothing costs the
// three folds, with payloads that own their memory as decoded ones do.
func BenchmarkIdleAgents(b *testing.B) {
	const agents = 10_000
	for b.Loop() {
		before := liveBytes()
		set := newSet()
		log := newTape(set.folds()...)
		for i := range agents {
			id := events.AgentID{0: 1, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)}
			d := deployed(0, fmt.Sprintf("agent-%d", i))
			d.AgentID = id
			log.put(events.AgentStream(id), reread(b, d))
		}
		log.heads = nil
		b.ReportMetric(float64(liveBytes()-before)/agents, "bytes/agent")
		runtime.KeepAlive(set)
	}
}

func liveBytes() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // the first may leave what finalizers held
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func reread(b *testing.B, p events.Payload) events.Payload {
	ev, err := events.Encode(events.EventID{1}, p, events.Metadata{})
	if err != nil {
		b.Fatal(err)
	}
	back, err := events.Decode(ev)
	if err != nil {
		b.Fatal(err)
	}
	return back
}

// BenchmarkRebuild measures how fast the three folds are rebuilt from a log on
// disk: messages of 200 bytes between 100 agents, each with one send.
func BenchmarkRebuild(b *testing.B) {
	const agents, batches, batch = 100, 40, 500
	s := openStore(b)
	var last events.Position
	content := []byte(`{"text":"` + strings.Repeat("x", 40) + `"}`)
	for i := range batches {
		n, list := byte(i%agents), make([]events.Payload, batch)
		if i < agents {
			put(b, s, events.AgentStream(agentID(n)), deployed(n, "agent"))
		}
		for j := range list {
			m := sent(n, byte((i+1)%agents), uint64(i/agents*batch+j+1))
			m.Content = json.RawMessage(content)
			list[j] = events.MessageHandled{
				Message: events.Message{Sender: "user:anonymous", Receiver: agentID(n).String(), Content: m.Content},
				Outcome: events.OutcomeOK, Sends: []events.Message{m}, Module: events.HashModule(nil),
			}
		}
		last = put(b, s, events.AgentStream(agentID(n)), list...)
	}
	for b.Loop() {
		r := run(b, s, newSet().folds()...)
		r.wait(b, last)
		if err := r.stop(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*float64(batches*(batch+1))/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkResolve measures the worst reference: the beginning of an id that no
// agent of 100,000 has.
func BenchmarkResolve(b *testing.B) {
	a := NewAgents("")
	log := newTape(a)
	for range 100_000 {
		id := events.NewAgentID()
		d := deployed(0, "agent")
		d.AgentID = id
		log.put(events.AgentStream(id), d)
	}
	for b.Loop() {
		if _, err := a.Resolve("01000000-0000-4000-8000-00000fff"); err == nil {
			b.Fatal("found")
		}
	}
}

// BenchmarkWaiters measures an event that satisfies none of 1,000 waiters.
func BenchmarkWaiters(b *testing.B) {
	r := NewRunner(newMemStore(), slog.New(slog.DiscardHandler))
	for i := range 1000 {
		r.waiters.Push(&waiter{position: events.Position(1<<40 + i)})
	}
	for b.Loop() {
		r.moved(7)
	}
}

// BenchmarkTalkFolds is what following conversations, messages and timers costs for
// each event of an agent that is asked by another and answers.
func BenchmarkTalkFolds(b *testing.B) {
	talks, index, timers := NewConversations(time.Minute), NewMessages(), NewTimers()
	asked := events.Message{Performative: events.Request, Sender: party(1).String(), Receiver: party(2).String(), ConversationID: "talk"}
	answer := events.Message{Performative: events.Inform, Sender: party(2).String(), Receiver: party(1).String(), ConversationID: "talk"}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		binary.BigEndian.PutUint64(asked.ID[:], uint64(2*i+1)*0x9e3779b97f4a7c15)
		binary.BigEndian.PutUint64(answer.ID[:], uint64(2*i+2)*0x9e3779b97f4a7c15)
		for from, m := range []*events.Message{&asked, &answer} {
			rec := events.Recorded{Stream: events.AgentStream(party(byte(from + 1))), RecordedAt: second(i), Position: events.Position(i)}
			p := events.MessageHandled{Message: answer, Sends: []events.Message{*m}}
			for _, f := range []Fold{talks, index, timers} {
				f.Apply(rec, p)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(2*b.N), "ns/event")
}
