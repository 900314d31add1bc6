package actors

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/caxton-run/caxton/actors/agent"
	"github.com/caxton-run/caxton/events"
)

// TestAnAgentsStateIsBounded: the message that would pass the bound fails once, by
// name, and the agent goes on with what it had.
func TestAnAgentsStateIsBounded(t *testing.T) {
	r := newRig(t, nil)
	id := r.deploy("kv", "kv")
	value := strings.Repeat("x", 250_000)
	put := func(i int) Sent { return r.ask(id, fmt.Sprintf(`{"op":"put","key":"k%d","value":%q}`, i, value)) }
	most := agent.MaxStateBytes / len(value)
	for i := range most {
		if s := put(i); s.Status != Handled {
			t.Fatalf("value %d of %d: %s, %s", i, most, s.Status, contentOf(s.Reply))
		}
	}
	if s := put(most); s.Status != Failed || !strings.Contains(contentOf(s.Reply), `"code":"EffectsTooLarge"`) {
		t.Errorf("beyond the bound: %s, %.200s", s.Status, contentOf(s.Reply))
	}
	r.wants(id, fmt.Sprintf(`{"op":"get","key":"k%d"}`, most), `{"found":false}`)
	if s := put(0); s.Status != Handled {
		t.Errorf("in place of another value: %s, %.200s", s.Status, contentOf(s.Reply))
	}
	if failed := only[events.MessageFailed](r, events.AgentStream(id)); len(failed) != 1 {
		t.Errorf("%d messages failed, want one, once", len(failed))
	}
}

// TestALargeAgentIsSnapshotted: values and keys that do not fit an append are
// stored in several events, the newest three snapshots stay, and a wake begins at
// the newest.
func TestALargeAgentIsSnapshotted(t *testing.T) {
	const every = 2
	r := newRig(t, func(c *Config) { c.SnapshotEvery = every })
	id := r.deploy("kv", "kv")
	src := rand.NewChaCha8([32]byte{1})
	value := make([]byte, 60_000)
	const puts = 40
	for i := range puts {
		_, _ = src.Read(value) // never fails
		q := request(id, fmt.Sprintf(`{"op":"put","key":"k%d","value":"%x"}`, i, value))
		q.IdempotencyKey = fmt.Sprint(i)
		if s, err := r.Send(context.Background(), q); err != nil || s.Status != Handled {
			t.Fatalf("%d: %s, %v", i, s.Status, err)
		}
	}
	r.restart()
	stream := events.SnapshotStream(id)
	kept := 0
	for _, err := range r.log.ReadStream(context.Background(), stream, events.ReadStreamOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		kept++
	}
	md, _, _, err := r.log.StreamMetadata(context.Background(), stream)
	if err != nil || md.MaxCount < 3*keepSnapshots || kept > int(md.MaxCount) {
		t.Errorf("%d events of snapshots are kept, $maxCount is %d, %v", kept, md.MaxCount, err)
	}
	live, err := r.sys.source.Agent(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer live.Release()
	// One of n parts comes n times as rarely, and a slow message has two events.
	most := events.Revision(2 * every * (md.MaxCount/keepSnapshots + 1))
	if behind := live.State.Revision - live.Snapshot; behind > most {
		t.Errorf("the newest snapshot is %d events behind revision %d", behind, live.State.Revision)
	}
	if _, ok := live.State.Key(agent.ScopedKey("user:test", "0")); !ok {
		t.Error("the first key is forgotten")
	}
	r.wants(id, fmt.Sprintf(`{"op":"get","key":"k%d"}`, puts-1), fmt.Sprintf(`{"found":true,"value":"%x"}`, value))
}
