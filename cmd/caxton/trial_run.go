package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/caxton-run/caxton/events"
)

// maxTrialMessages bounds one command: what is to be measured in thousands is
// measured on a server.
const maxTrialMessages = 1000

// trialFlags is what the flags of "agent run" say.
type trialFlags struct {
	messages     []string
	performative string
	conversation string
	limits       limitFlags
}

func (a *app) runCommand() *cobra.Command {
	var in trialFlags
	cmd := &cobra.Command{
		Use:        "run FILE --message CONTENT",
		SuggestFor: []string{"try", "test", "exec", "invoke"},
		Short:      "Try a module without a server: give it messages and see what it does",
		Long: "Try a module without a server: give it messages and see what it does. They are given in order to one\n" +
			"agent, which keeps its memory and state from one to the next. What it sends is told, and goes nowhere;\n" +
			"timers are told, and do not fire.\n\n" +
			contentHelp + "\n\n" +
			"Exits 1 when a message was not handled.",
		Example: "  caxton agent run counter.wasm --message '{\"op\":\"add\",\"n\":5}' --message '{\"op\":\"get\"}'\n" +
			"  caxton agent run shop.wasm --message @order.json --max-fuel 1000000 -o json",
		Args: exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			said, err := a.trialMessages(in, cmd.Flags().Changed)
			if err != nil {
				return err
			}
			limits, err := in.limits.here(cmd.Flags().Changed)
			if err != nil {
				return err
			}
			wasm, err := a.readModule(args[0])
			if err != nil {
				return err
			}
			return a.tryModule(cmd.Context(), args[0], wasm, limits, said)
		},
	}
	f := cmd.Flags()
	f.StringArrayVarP(&in.messages, "message", "m", nil, "what to say to it; may be given again (required)")
	f.StringVar(&in.performative, "performative", "", "of the messages: request, inform, query_if, … (default request)")
	f.StringVar(&in.conversation, "conversation-id", "trial", "the conversation they belong to")
	in.limits.add(cmd, "a server's")
	return cmd
}

func (a *app) trialMessages(in trialFlags, given func(string) bool) ([]events.Message, error) {
	if !given("message") {
		return nil, &usageError{text: "--message is needed", next: "see: caxton agent run --help"}
	}
	if len(in.messages) > maxTrialMessages {
		return nil, usagef("--message may be given %d times, not %d", maxTrialMessages, len(in.messages))
	}
	performative, err := events.ParsePerformative(in.performative)
	if err != nil {
		return nil, usagef("--%s", err)
	}
	stdin := func(arg string) bool { return arg == "-" }
	if i := slices.IndexFunc(in.messages, stdin); i >= 0 && slices.ContainsFunc(in.messages[i+1:], stdin) {
		return nil, usagef("--message - may be given once: there is one standard input")
	}
	said := make([]events.Message, len(in.messages))
	for i, arg := range in.messages {
		m := &said[i]
		m.Performative, m.ConversationID = performative, in.conversation
		if m.Content, m.ContentBase64, err = a.content("message", arg); err != nil {
			return nil, err
		}
		if err := m.Validate(); err != nil {
			return nil, err
		}
	}
	return said, nil
}

// tried is the structured form of "agent run".
type tried struct {
	Module   events.ModuleHash `json:"module_sha256"`
	Messages []triedMessage    `json:"messages"`
}

// triedMessage is one message of tried, and what the agent made of it.
type triedMessage struct {
	Content       json.RawMessage      `json:"content,omitempty"`
	ContentBase64 []byte               `json:"content_base64,omitempty"`
	Outcome       events.OutcomeStatus `json:"outcome"`
	Detail        string               `json:"detail,omitempty"`
	Status        int32                `json:"status,omitempty"` // that caxton_handle returned
	Answer        *spoken              `json:"answer,omitempty"`
	Sends         []spoken             `json:"sends"`
	State         []events.StateChange `json:"state"`
	Logs          []events.LogLine     `json:"logs"`
	Timers        []triedTimer         `json:"timers,omitempty"`
	Capabilities  []string             `json:"capabilities,omitempty"`
	Fuel          events.Fuel          `json:"fuel"`
	ElapsedUS     int64                `json:"elapsed_us"`
}

// triedTimer is a timer that was set or cancelled; none fires in a trial.
type triedTimer struct {
	Timer         events.TimerID  `json:"timer"`
	Cancelled     bool            `json:"cancelled,omitempty"`
	AfterUS       int64           `json:"after_us,omitempty"`
	Content       json.RawMessage `json:"content,omitempty"`
	ContentBase64 []byte          `json:"content_base64,omitempty"`
}

// spoken is what an agent said, without what a server adds.
type spoken struct {
	Performative   events.Performative `json:"performative"`
	Receiver       string              `json:"receiver,omitempty"`
	Content        json.RawMessage     `json:"content,omitempty"`
	ContentBase64  []byte              `json:"content_base64,omitempty"`
	ConversationID string              `json:"conversation_id,omitempty"`
	ReplyWith      string              `json:"reply_with,omitempty"`
	InReplyTo      string              `json:"in_reply_to,omitempty"`
	Protocol       string              `json:"protocol,omitempty"`
}

func speech(m events.Message) spoken {
	return spoken{
		Performative: m.Performative, Receiver: m.Receiver, Content: m.Content, ContentBase64: m.ContentBase64,
		ConversationID: m.ConversationID, ReplyWith: m.ReplyWith, InReplyTo: m.InReplyTo, Protocol: m.Protocol,
	}
}

func describeRun(r trialRun) triedMessage {
	out := triedMessage{
		Content: r.message.Content, ContentBase64: r.message.ContentBase64,
		Outcome: r.outcome.Status, Detail: r.outcome.Detail, Status: r.outcome.GuestStatus,
		Sends: []spoken{}, State: []events.StateChange{}, Logs: []events.LogLine{},
		Fuel: r.outcome.Fuel, ElapsedUS: r.elapsed.Microseconds(),
	}
	switch {
	case r.outcome.Replied:
		m := events.Message{Performative: events.Inform}
		m.SetContent(r.outcome.Reply)
		s := speech(m)
		out.Answer = &s
	case r.notice != nil:
		out.Answer = &spoken{Performative: r.notice.Performative, Content: r.notice.Content}
	}
	for _, m := range r.outcome.Sends {
		out.Sends = append(out.Sends, speech(m))
	}
	for _, c := range r.outcome.Timers {
		var m events.Message
		if !c.Cancel {
			m.SetContent(c.Content)
		}
		out.Timers = append(out.Timers, triedTimer{c.Timer, c.Cancel, c.After.Microseconds(), m.Content, m.ContentBase64})
	}
	out.Capabilities = r.outcome.Capabilities
	out.State = append(out.State, r.outcome.State...)
	out.Logs = append(out.Logs, r.outcome.Logs...)
	return out
}

// tryModule runs messages and tells of each as soon as it is done.
func (a *app) tryModule(ctx context.Context, file string, wasm []byte, limits events.ResourceLimits, said []events.Message) (err error) {
	t, err := newTrial(ctx, "", wasm, limits, a.now)
	if err != nil {
		return refusal(file, err)
	}
	defer func() { err = errors.Join(err, t.close(ctx)) }()
	for _, w := range t.mod.Info().Warnings {
		a.note("warning: %s", oneLine(w))
	}
	out := tried{Module: t.mod.Hash()}
	var worst events.OutcomeStatus
	failed := 0
	for i, m := range said {
		r, err := t.tell(ctx, m)
		if err != nil {
			return refusal(file, err)
		}
		if r.outcome.Status != events.OutcomeOK {
			failed++
			worst = r.outcome.Status
		}
		d := describeRun(r)
		out.Messages = append(out.Messages, d)
		if a.output == "table" || a.output == "wide" {
			a.printf("message %d: %s\n", i+1, contentText(d.Content, d.ContentBase64))
			a.tellRun(d, limits)
		}
		if ctx.Err() != nil {
			break
		}
	}
	if _, err := a.structured(out); err != nil {
		return err
	}
	if failed > 0 {
		return &failure{text: fmt.Sprintf("%d of %s not handled", failed, count(len(said), "message")), next: outcomeAdvice(worst)}
	}
	return nil
}

func (a *app) tellRun(d triedMessage, limits events.ResourceLimits) {
	line := func(name, format string, args ...any) {
		a.printf("  %-8s %s\n", name, oneLine(fmt.Sprintf(format, args...)))
	}
	outcome := string(d.Outcome)
	if d.Detail != "" {
		outcome += ": " + d.Detail
	}
	line("outcome", "%s", outcome)
	if s := d.Answer; s != nil {
		line("answer", "%s %s", s.Performative, contentText(s.Content, s.ContentBase64))
	}
	for _, s := range d.Sends {
		line("send", "%s to %s: %s", s.Performative, s.Receiver, contentText(s.Content, s.ContentBase64))
	}
	for _, c := range d.State {
		if c.Delete {
			line("state", "%s deleted", c.Key)
			continue
		}
		line("state", "%s = %s", c.Key, printable(c.Value))
	}
	for _, c := range d.Timers {
		if c.Cancelled {
			line("timer", "%d cancelled", c.Timer)
			continue
		}
		line("timer", "%d in %s: %s", c.Timer, time.Duration(c.AfterUS)*time.Microsecond, contentText(c.Content, c.ContentBase64))
	}
	for _, name := range d.Capabilities {
		line("can", "%s", name)
	}
	for _, l := range d.Logs {
		line("log", "%s: %s", l.Level, l.Text)
	}
	line("fuel", "%d of %d", d.Fuel, limits.MaxFuel)
	line("time", "%d.%03dms", d.ElapsedUS/1000, d.ElapsedUS%1000)
}

// contentText is content as a person reads it.
func contentText(text json.RawMessage, bytes []byte) string {
	switch {
	case len(text) > 0:
		return oneLine(string(text))
	case len(bytes) > 0:
		return count(len(bytes), "byte")
	}
	return "nothing"
}

// printable is a value as text, when it is text.
func printable(b []byte) string {
	s := string(b)
	if utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl) {
		return s
	}
	return count(len(b), "byte")
}
