package actors

import (
	"fmt"
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
