package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/caxton-run/caxton/events"
	caxtonhttp "github.com/caxton-run/caxton/http"
)

// messageFlags is what the flags of "message send" say.
type messageFlags struct {
	to           string
	content      string
	performative string
	conversation string
	priority     string
	key          string
	wait         time.Duration
}

func (a *app) messageCommand() *cobra.Command {
	cmd := a.noun("message", "Talk to agents", []string{"messages"}, "caxton message send --to counter --content '{\"op\":\"add\"}' --wait 5s")
	cmd.AddCommand(a.sendCommand(), a.messageListCommand(), a.messageGetCommand())
	return cmd
}

func (a *app) sendCommand() *cobra.Command {
	var in messageFlags
	cmd := &cobra.Command{
		Use:   "send --to AGENT --content TEXT",
		Short: "Send a message to an agent",
		Long: "Send a message to an agent. It is durable when the command returns.\n" +
			contentHelp,
		Example: "  caxton message send --to capability:translate --content '\"bonjour\"' --performative query-ref --wait 5s\n" +
			"  caxton message send --to counter --content '{\"op\":\"add\"}'\n" +
			"  caxton message send --to echo --content hello --wait 5s\n" +
			"  caxton message send --to shop --content @order.json",
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := a.outgoing(in, cmd.Flags().Changed)
			if err != nil {
				return err
			}
			c, err := a.server()
			if err != nil {
				return err
			}
			got, err := c.Send(cmd.Context(), in.to, m)
			if err != nil {
				return err
			}
			return a.showReceipt(got, in.wait)
		},
	}
	f := cmd.Flags()
	f.StringVar(&in.to, "to", "", "the agent: an id, the beginning of one, a name, or capability:NAME (required)")
	f.StringVar(&in.content, "content", "", "what to say (required)")
	f.StringVar(&in.performative, "performative", "", "request, inform, query_if, … (default request)")
	f.StringVar(&in.conversation, "conversation-id", "", "the conversation it belongs to (default a new one)")
	f.StringVar(&in.priority, "priority", "", "low, normal, high or critical (default normal)")
	f.StringVar(&in.key, "idempotency-key", "", "the same key is the same message, for 24 hours (1 to 255 bytes)")
	f.DurationVar(&in.wait, "wait", 0, fmt.Sprintf("for the reply, at most %s", caxtonhttp.MaxWait))
	_ = cmd.RegisterFlagCompletionFunc("to", func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		return a.completeAgents(cmd, nil, word)
	})
	return cmd
}

func (a *app) outgoing(in messageFlags, given func(string) bool) (caxtonhttp.Outgoing, error) {
	m := caxtonhttp.Outgoing{ConversationID: in.conversation, Priority: events.Priority(in.priority), Wait: in.wait, IdempotencyKey: in.key}
	for _, flag := range []string{"to", "content"} {
		if !given(flag) {
			return m, &usageError{text: "--" + flag + " is needed", next: "see: caxton message send --help"}
		}
	}
	if in.to == "" {
		return m, usagef("--to must not be empty")
	}
	if n := len(in.key); given("idempotency-key") && (n < 1 || n > events.MaxKeyLength) { // an empty one is a variable that was not set
		return m, usagef("--idempotency-key must be 1 to %d bytes, not %d", events.MaxKeyLength, n)
	}
	if in.wait < 0 || in.wait > caxtonhttp.MaxWait {
		return m, usagef("--wait must be 0 to %s, not %s", caxtonhttp.MaxWait, in.wait)
	}
	var err error
	if m.Performative, err = events.ParsePerformative(in.performative); err != nil {
		return m, usagef("--%s", err)
	}
	if _, err := events.ParsePriority(in.priority); err != nil {
		return m, usagef("--%s", err)
	}
	m.Content, m.ContentBase64, err = a.content("content", in.content)
	return m, err
}

// showReceipt prints the reply when there is one, else what became of the
// message. A reply that tells of a failure makes the command fail.
func (a *app) showReceipt(got caxtonhttp.MessageReceipt, wait time.Duration) error {
	done, err := a.structured(got)
	if err != nil {
		return err
	}
	if !done {
		a.printf("message %s is %s (conversation %s)\n", got.MessageID, got.Status, oneLine(got.ConversationID))
		if r := got.Reply; r != nil {
			content := string(r.Content)
			if len(r.Content) == 0 {
				content = fmt.Sprintf("%d bytes", len(r.ContentBase64))
			}
			a.printf("%s: %s\n", r.Performative, oneLine(content))
		} else if wait > 0 {
			a.note("no reply within %s; the message is kept", wait)
		}
	}
	if r := got.Reply; r != nil && r.Performative == events.Failure {
		return &failure{text: "the agent answered with a failure", next: failureAdvice(r.Content)}
	}
	return nil
}
