package replay

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/wasmhost"
)

// maxShown bounds each side of a difference, in bytes: enough to see what differs,
// for content may be 256 KiB.
const maxShown = 2048

// recorded is a message as the log has it.
type recorded struct {
	revision events.Revision
	handled  events.MessageHandled
	said     []events.Message // sends, those that led nowhere too
	timers   []string         // set and cancelled, in order
	learned  []string         // capabilities
}

// also takes an event that the message's run led to besides its own. They stand behind
// it, in the same append.
func (r *recorded) also(p events.Payload) bool {
	id := r.handled.Message.ID
	switch e := p.(type) {
	case events.MessageDeadLettered:
		if e.Message.Sequence != 0 || e.Inbox != nil {
			return false
		}
		r.said = append(r.said, e.Message) // a send that led nowhere
	case events.TimerFired:
		return e.MessageID == id // the message was the timer's
	case events.TimerSet:
		if e.SetBy != id {
			return false
		}
		r.timers = append(r.timers, timerSet(e, r.handled.Host))
	case events.TimerCancelled:
		if e.CancelledBy != id {
			return false
		}
		r.timers = append(r.timers, timerCancelled(e.Timer))
	case events.CapabilityRegistered:
		if e.RegisteredBy != id {
			return false
		}
		r.learned = append(r.learned, e.Capability)
	default:
		return false
	}
	return true
}

func timerSet(e events.TimerSet, host events.HostRecord) string {
	after := e.DueAt.Sub(time.UnixMicro(host.NowMicros))
	m := events.Message{Content: e.Content, ContentBase64: e.ContentBase64}
	if m.ContentSize() == 0 {
		return fmt.Sprintf("set %d after %s", e.Timer, after)
	}
	return fmt.Sprintf("set %d after %s: %s", e.Timer, after, content(&m))
}

func timerCancelled(id events.TimerID) string { return fmt.Sprintf("cancel %d", id) }

// tried runs a recorded message and reports whether the trial has come to a
// difference, or to the end of its time.
func (t *trial) tried(ctx context.Context, r *recorded) bool {
	if r == nil {
		return false
	}
	if ctx.Err() != nil {
		return true
	}
	h := &r.handled
	out := wasmhost.Outcome{Status: events.OutcomeNoHandler, Detail: "the module handles no messages"}
	if t.guest != nil {
		m, err := events.WithContent(ctx, t.src.Store, h.Message)
		if err != nil {
			return t.unreadable(r, err)
		}
		out = t.guest.Handle(ctx, wasmhost.Call{Message: &m, Host: h.Host, Fuel: t.limits.MaxFuel, State: &t.state, Agent: t.folded})
	}
	if t.short = out.Short; t.short != nil || ctx.Err() != nil {
		return true // nothing is known of it: its time ended within the run, or the node's memory
	}
	t.out.Messages++
	differs := func(what, before, now string) bool {
		if before == now {
			return false
		}
		t.out.Difference = &Difference{r.revision, h.Message.ID, what, clip(before), clip(now)}
		return true
	}
	if out.Status != events.OutcomeOK {
		return differs("outcome", string(events.OutcomeOK), fmt.Sprintf("%s: %s", out.Status, out.Detail))
	}
	t.state.apply(out.State)
	reply, sends := said(&h.Message, &out)
	return differs("reply", content(h.Reply), content(reply)) ||
		differs("sends", lines(r.said), lines(sends)) ||
		differs("state", changes(h.State), changes(out.State)) ||
		differs("timers", joined(r.timers), joined(timers(&out, h.Host))) ||
		differs("capabilities", joined(t.beyond(r.learned)), joined(t.beyond(out.Capabilities)))
}

// timers writes what a run did to timers as also does.
func timers(out *wasmhost.Outcome, host events.HostRecord) []string {
	var done []string
	for _, c := range out.Timers {
		if c.Cancel {
			done = append(done, timerCancelled(c.Timer))
			continue
		}
		var m events.Message
		m.SetContent(c.Content)
		due := time.UnixMicro(host.NowMicros).Add(c.After)
		done = append(done, timerSet(events.TimerSet{Timer: c.Timer, DueAt: due, Content: m.Content, ContentBase64: m.ContentBase64}, host))
	}
	return done
}

// beyond returns, sorted, the capabilities that the agent would not have had from the
// update on: the new module may register while it starts what the old one did later.
func (t *trial) beyond(names []string) []string {
	var out []string
	for _, n := range names {
		if !slices.Contains(t.offers, n) {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}

func joined(of []string) string {
	if len(of) == 0 {
		return "none"
	}
	return strings.Join(of, "\n")
}

// said is what a run tells whoever asked from outside, and what it tells agents.
func said(m *events.Message, out *wasmhost.Outcome) (reply *events.Message, sends []events.Message) {
	sends = out.Sends
	if !out.Replied {
		return nil, sends
	}
	reply = &events.Message{Performative: events.Inform, Protocol: m.Protocol, InReplyTo: m.ReplyWith}
	if reply.InReplyTo == "" {
		reply.InReplyTo = m.ID.String()
	}
	reply.SetContent(out.Reply)
	if _, ok := m.FromAgent(); ok {
		return nil, append(slices.Clone(sends), *reply)
	}
	return reply, sends
}

// unreadable ends a trial at a message whose content cannot be had.
func (t *trial) unreadable(r *recorded, err error) bool {
	t.out.Difference = &Difference{r.revision, r.handled.Message.ID, "message", "readable", clip(err.Error())}
	return true
}

func content(m *events.Message) string {
	switch {
	case m == nil:
		return "none"
	case m.Blob != nil:
		return "blob " + string(m.Blob.Hash)
	case m.ContentSize() > events.MaxMessageContent:
		return large(m)
	case len(m.Content) > 0:
		var b bytes.Buffer // the log has no white space between tokens
		if json.Compact(&b, m.Content) != nil {
			return string(m.Content)
		}
		return b.String()
	}
	return fmt.Sprintf("bytes %x", m.ContentBase64)
}

// large is what content says of a message that the log would keep in a blob.
func large(m *events.Message) string {
	b := m.ContentBase64
	if len(m.Content) > 0 {
		var tight bytes.Buffer
		if json.Compact(&tight, m.Content) != nil {
			return string(m.Content)
		}
		if b = tight.Bytes(); len(b) <= events.MaxMessageContent {
			return string(b)
		}
	}
	return "blob " + string(events.HashBlob(b))
}

// lines writes sends in an order of their own: those that led nowhere stand in the
// log behind those that did not. Receivers are left out, because the log has ids
// where the guest may have said names, and what is caxton's to say.
func lines(list []events.Message) string {
	out := make([]string, len(list))
	for i := range list {
		m := &list[i]
		if m.Performative == "" {
			m.Performative = events.Inform
		}
		out[i] = fmt.Sprintf("%s %s (protocol %q, reply_with %q, in_reply_to %q, language %q, ontology %q)",
			m.Performative, content(m), m.Protocol, m.ReplyWith, m.InReplyTo, m.Language, m.Ontology)
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func changes(list []events.StateChange) string {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b events.StateChange) int { return strings.Compare(a.Key, b.Key) }) // each key once
	b, err := json.Marshal(list)
	if err != nil || len(list) == 0 {
		return "none"
	}
	return string(b)
}

func clip(s string) string {
	if len(s) > maxShown {
		return strings.ToValidUTF8(s[:maxShown], "") + "…"
	}
	return s
}
