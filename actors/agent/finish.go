package agent

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/caxton-run/caxton/events"
)

// finish decides what a run becomes: handled, failed once and for all, a crash that is
// tried again until it is quarantined, or quarantined without having been run.
func (s *State) finish(r Run) []events.Payload {
	switch {
	case r.Status == events.OutcomeOK:
		if why := s.values.overflow(r.State); why != "" {
			r.Status, r.Detail = events.OutcomeEffectsTooLarge, why
			return s.fail(r)
		}
		return s.succeed(r)
	case r.Status == events.OutcomeNoHandler:
		return s.notUnderstood(r)
	case r.Status.Recurs():
		return s.fail(r)
	case r.Status == events.OutcomeNodeCrash:
		return s.quarantine(r, r.Attempts)
	default:
		return s.crashed(r)
	}
}

func (s *State) succeed(r Run) []events.Payload {
	post := s.newPost(&r)
	for _, out := range r.Sends {
		if reason, detail := undeliverable(out, &r.Message); reason != "" {
			post.giveUp(post.address(out.Message, out.Message.Receiver), reason, detail)
			continue
		}
		post.send(out.Message, out.To)
	}
	if r.Replied {
		m := events.Message{Performative: events.Inform}
		if m.Blob = r.ReplyBlob; m.Blob == nil {
			m.SetContent(r.Reply)
		}
		post.reply(m)
	}
	out := append([]events.Payload{s.handledEvent(r, post)}, post.dead...)
	out = append(append(out, s.fired(&r)...), changeTimers(&r)...)
	return append(out, s.register(r.Capabilities, r.Message.ID)...)
}

// notUnderstood answers a message to a module without a handler. What is itself
// an answer gets none, or two such agents would talk for ever.
func (s *State) notUnderstood(r Run) []events.Payload {
	post := s.newPost(&r)
	if !isNotice(&r.Message) {
		post.reply(notice(events.NotUnderstood, "NoHandler", "the module exports no caxton_handle"))
	}
	return append(append([]events.Payload{s.handledEvent(r, post)}, post.dead...), s.fired(&r)...)
}

func (s *State) handledEvent(r Run, p *post) events.MessageHandled {
	return events.MessageHandled{
		Message: r.Message, Outcome: r.Status, Reply: p.outside, Sends: p.agents,
		Logs: r.Logs, State: r.State, Host: r.Host, Fuel: r.Fuel,
		MeterVersion: r.MeterVersion, Module: s.Module,
		Inbox: r.Inbox, IdempotencyKey: r.Key, BodyHash: r.BodyHash,
	}
}

func (s *State) fail(r Run) []events.Payload {
	post := s.failurePost(&r)
	failed := events.MessageFailed{
		Message: r.Message, Outcome: r.Status, Detail: r.Detail, Status: r.GuestStatus,
		Reply: post.outside, Sends: post.agents, Logs: r.Logs, Host: r.Host, Fuel: r.Fuel,
		MeterVersion: r.MeterVersion, Module: s.Module,
		Inbox: r.Inbox, IdempotencyKey: r.Key, BodyHash: r.BodyHash,
	}
	return append(append([]events.Payload{failed}, post.dead...), s.fired(&r)...)
}

func (s *State) crashed(r Run) []events.Payload {
	attempt := s.CrashAttempts(r.Message.ID) + 1
	out := []events.Payload{events.AgentCrashed{
		MessageID: r.Message.ID, Outcome: r.Status, Detail: r.Detail, Attempt: attempt,
		BackoffMS: backoff(attempt).Milliseconds(), At: time.UnixMicro(r.Host.NowMicros).UTC(),
	}}
	if attempt >= MaxCrashesOfMessage {
		out = append(out, s.quarantine(r, attempt)...)
	}
	if s.crash.wouldFail(r.Host.NowMicros) {
		out = append(out, events.AgentFailed{
			Reason:  fmt.Sprintf("%d crashes within %s, the last: %s", MaxCrashes, CrashWindow, r.Status),
			Crashes: MaxCrashes, WindowMS: CrashWindow.Milliseconds(), Outcome: r.Status,
		})
	}
	return out
}

// quarantine sets a message aside for good.
func (s *State) quarantine(r Run, attempts int) []events.Payload {
	post := s.failurePost(&r)
	out := []events.Payload{events.AgentQuarantined{
		Message: r.Message, Outcome: r.Status, Detail: r.Detail, Attempts: attempts,
		Reply: post.outside, Sends: post.agents,
		Inbox: r.Inbox, IdempotencyKey: r.Key, BodyHash: r.BodyHash,
	}}
	return append(append(out, post.dead...), s.fired(&r)...)
}

func (s *State) failurePost(r *Run) *post {
	post := s.newPost(r)
	if !isNotice(&r.Message) {
		post.reply(notice(events.Failure, string(r.Status), r.Detail))
	}
	return post
}

func undeliverable(out Outgoing, cause *events.Message) (events.DeadLetterReason, string) {
	if out.Dead != "" {
		return out.Dead, out.Detail
	}
	return hopLimit(cause)
}

func hopLimit(cause *events.Message) (events.DeadLetterReason, string) {
	if cause.Hops < events.MaxHops {
		return "", ""
	}
	return events.DeadHopLimit, fmt.Sprintf("%d agents passed it on already", cause.Hops)
}

// isNotice reports whether a message is an answer that must not be answered by
// another notice.
func isNotice(m *events.Message) bool {
	return m.Performative == events.Failure || m.Performative == events.NotUnderstood
}

// notice is an answer caxton gives in an agent's place.
func notice(p events.Performative, code, reason string) events.Message {
	content, err := json.Marshal(struct {
		Code   string `json:"code"`
		Reason string `json:"reason"`
	}{code, reason})
	if err != nil { // two strings: cannot fail
		panic(err)
	}
	return events.Message{Performative: p, Content: content}
}
