package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
)

func (a *app) messageGetCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "get MESSAGE-ID",
		Short: "Show a message and what has become of it",
		Long: "Show a message and what has become of it. The newest million messages are found by their id;\n" +
			"older ones in their conversation.",
		Example: "  caxton message get 0b5c1d6e-7c0f-4a55-9a43-1f6f0c2e9b11\n" +
			"  caxton message get 0b5c1d6e-7c0f-4a55-9a43-1f6f0c2e9b11 -o json",
		Args: exactly("MESSAGE-ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := events.ParseMessageID(args[0]); err != nil {
				return usagef("MESSAGE-ID must be a UUID in its 36-character form, got %q", args[0])
			}
			c, err := a.server()
			if err != nil {
				return err
			}
			got, err := c.Message(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if done, err := a.structured(got); done || err != nil {
				return err
			}
			a.describeMessage(got)
			return nil
		},
	}
}

func (a *app) messageListCommand() *cobra.Command {
	var (
		in      pageFlags
		waiting bool
	)
	cmd := &cobra.Command{
		Use:               "list AGENT",
		Aliases:           []string{"ls"},
		Short:             "List what was said to an agent and by it, or what waits for it",
		Example:           "  caxton message list counter --backwards --limit 10\n  caxton message list counter --waiting",
		Args:              exactly("AGENT"),
		ValidArgsFunction: a.completeAgents,
		RunE: func(cmd *cobra.Command, args []string) error {
			q, err := in.query(cmd)
			if err != nil {
				return err
			}
			if waiting && in.backwards {
				return usagef("--waiting lists the oldest first, and not --backwards")
			}
			c, err := a.server()
			if err != nil {
				return err
			}
			read := c.AgentMessages
			if waiting {
				read = c.WaitingMessages
			}
			list, next, err := read(cmd.Context(), args[0], q)
			if err != nil {
				return err
			}
			if !waiting && q.From == nil && q.Direction == events.Forwards {
				if v, err := c.Agent(cmd.Context(), args[0]); err == nil { // a removed agent has no view
					a.noteRemoved(v.HistoryFrom, v.HistoryRemovedAt)
				}
			}
			if next != nil { // beside the output: -o json is of this page alone
				defer a.note("there are more: --from %d", uint64(*next.From))
			}
			if done, err := a.structured(list); done {
				return err
			}
			a.messageTable(list)
			return nil
		},
	}
	in.register(cmd, "messages")
	cmd.Flags().BoolVar(&waiting, "waiting", false, "only what waits in the agent's inbox")
	return cmd
}

func (a *app) messageTable(list []projections.MessageView) {
	header := []string{"AT", "PERFORMATIVE", "FROM", "TO", "STATUS", "CONTENT"}
	wide := a.output == "wide"
	if wide {
		header = append(header, "MESSAGE-ID", "CONVERSATION")
	}
	rows := make([][]string, len(list))
	for i, m := range list {
		rows[i] = []string{
			m.At.Format("15:04:05.000"), string(m.Performative), oneLine(m.Sender), oneLine(m.Receiver),
			string(m.Status), clipped(said(&m.Message)),
		}
		if wide {
			rows[i] = append(rows[i], m.ID.String(), oneLine(m.ConversationID))
		}
	}
	a.grid(header, rows)
	a.printf("%s\n", count(len(list), "message"))
}

func (a *app) describeMessage(m projections.MessageView) {
	line := func(name, format string, args ...any) {
		a.printf("%-13s %s\n", name+":", oneLine(fmt.Sprintf(format, args...)))
	}
	optional := func(name, text string) {
		if text != "" {
			line(name, "%s", text)
		}
	}
	line("ID", "%s", m.ID)
	line("Status", "%s", m.Status)
	line("Performative", "%s", m.Performative)
	line("From", "%s", m.Sender)
	line("To", "%s", m.Receiver)
	line("Conversation", "%s", m.ConversationID)
	optional("In reply to", m.InReplyTo)
	optional("Protocol", m.Protocol)
	line("Content", "%s", said(&m.Message))
	optional("Outcome", string(m.Outcome))
	optional("Reason", string(m.Reason))
	optional("Detail", m.Detail)
	if m.Reply != nil {
		line("Reply", "%s %s", m.Reply.Performative, said(m.Reply))
	}
	if m.Fuel > 0 {
		line("Fuel", "%d", m.Fuel)
	}
	line("At", "%s (position %d)", m.At.Format(time.RFC3339Nano), m.Position)
}

func (a *app) conversationCommand() *cobra.Command {
	cmd := a.noun("conversation", "Follow what is said", []string{"conversations"}, "caxton conversation get chat-1")
	cmd.AddCommand(&cobra.Command{
		Use:   "get CONVERSATION-ID",
		Short: "Show a conversation: how it stands, and all that was said",
		Example: "  caxton conversation get chat-1\n" +
			"  caxton conversation get chat-1 -o yaml",
		Args: exactly("CONVERSATION-ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] == "" || len(args[0]) > events.MaxFieldLength {
				return usagef("CONVERSATION-ID must be 1 to %d bytes", events.MaxFieldLength)
			}
			c, err := a.server()
			if err != nil {
				return err
			}
			got, err := c.Conversation(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if done, err := a.structured(got); done || err != nil {
				return err
			}
			a.tellConversation(got)
			return nil
		},
	})
	return cmd
}

func (a *app) tellConversation(v projections.ConversationView) {
	a.printf("conversation %s is %s\n", oneLine(v.ID), v.State)
	for _, x := range v.Exchanges {
		a.printf("%s of %s to %s: %s\n", x.Protocol, oneLine(x.From), oneLine(x.To), x.State)
	}
	a.messageTable(v.Messages)
	if v.RemovedUntil != nil {
		a.note("events recorded up to %s may have been removed by events.retention, and what they said is not shown", v.RemovedUntil.UTC().Format(time.RFC3339))
	}
	if v.Truncated {
		a.note("there is more: the conversation is too long to be shown whole")
	}
}

// said is a message's content as a person reads it, or where it is.
func said(m *events.Message) string {
	if m.Blob != nil {
		return fmt.Sprintf("%d bytes in blob %s", m.Blob.Size, m.Blob.Hash)
	}
	return contentText(m.Content, m.ContentBase64)
}

// maxCell bounds what a table shows of a message's content, in characters.
const maxCell = 60

func clipped(s string) string {
	if r := []rune(s); len(r) > maxCell {
		return string(r[:maxCell-1]) + "…"
	}
	return s
}
