package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	caxtonhttp "github.com/caxton-run/caxton/http"
	"github.com/caxton-run/caxton/projections"
)

func (a *app) letterCommand() *cobra.Command {
	cmd := a.noun("dead-letter", "Messages that nobody will handle: dead letters, and quarantined ones", []string{"dead-letters"},
		"caxton dead-letter list\n  caxton dead-letter retry 0b8c65a4-9a2f-5d0e-8f0c-6a1f8f2a3b4c")
	cmd.AddCommand(a.letterListCommand(), a.letterShowCommand(), a.letterRetryCommand())
	return cmd
}

func (a *app) letterListCommand() *cobra.Command {
	limit := caxtonhttp.PageLetters
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List messages that are set aside, the newest first",
		Example: "  caxton dead-letter list\n  caxton dead-letter list --limit 1000 -o json",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 || limit > caxtonhttp.MaxPageLetters {
				return usagef("--limit must be 1 to %d, not %d", caxtonhttp.MaxPageLetters, limit)
			}
			c, err := a.server()
			if err != nil {
				return err
			}
			page, err := c.Letters(cmd.Context(), "", limit)
			if err != nil {
				return err
			}
			if done, err := a.structured(page.Letters); done {
				return err
			}
			a.letterTable(page)
			return nil
		},
	}
	cmd.Flags().IntVar(&limit, "limit", limit, fmt.Sprintf("letters to show, 1 to %d", caxtonhttp.MaxPageLetters))
	return cmd
}

func (a *app) letterTable(page projections.LetterPage) {
	header := []string{"MESSAGE-ID", "KIND", "REASON", "SENDER", "RECEIVER", "AGE"}
	wide := a.output == "wide"
	if wide {
		header = append(header, "ATTEMPTS", "CONVERSATION", "DETAIL")
	}
	rows := make([][]string, len(page.Letters))
	for i, l := range page.Letters {
		rows[i] = []string{l.MessageID.String(), string(l.Kind), l.Reason, oneLine(l.Sender), oneLine(l.Receiver), age(a.now().Sub(l.At))}
		if wide {
			rows[i] = append(rows[i], fmt.Sprint(l.Attempts), oneLine(l.ConversationID), oneLine(l.Detail))
		}
	}
	a.grid(header, rows)
	a.printf("%s\n", count(page.Total, "dead letter"))
	if more := page.Total - len(page.Letters); more > 0 {
		a.note("%d more: --limit %d", more, min(page.Total, caxtonhttp.MaxPageLetters))
	}
}

func (a *app) letterShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "show MESSAGE-ID",
		Short:   "Show one message that is set aside, with its content",
		Example: "  caxton dead-letter show 0b8c65a4-9a2f-5d0e-8f0c-6a1f8f2a3b4c",
		Args:    exactly("MESSAGE-ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.server()
			if err != nil {
				return err
			}
			v, err := c.Letter(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if done, err := a.structured(v); done {
				return err
			}
			a.describeLetter(v)
			return nil
		},
	}
}

func (a *app) describeLetter(v caxtonhttp.LetterView) {
	line := func(name, format string, args ...any) {
		a.printf("%-13s %s\n", name+":", oneLine(fmt.Sprintf(format, args...)))
	}
	line("Message", "%s", v.MessageID)
	line("Kind", "%s", v.Kind)
	line("Reason", "%s", v.Reason)
	if v.Detail != "" {
		line("Detail", "%s", v.Detail)
	}
	line("Attempts", "%d", v.Attempts)
	line("At", "%s (%s ago)", v.At.Format("2006-01-02T15:04:05Z07:00"), age(a.now().Sub(v.At)))
	line("Sender", "%s", v.Sender)
	line("Receiver", "%s", v.Receiver)
	line("Performative", "%s", v.Performative)
	line("Conversation", "%s", v.ConversationID)
	line("Recorded", "agent %s, revision %d", v.Agent, v.Revision)
	line("Content", "%s", contentText(v.Message.Content, v.Message.ContentBase64))
}

func (a *app) letterRetryCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "retry MESSAGE-ID... | --all",
		Short: "Give messages that are set aside to their receivers again, each as a new message",
		Long: "Give messages that are set aside to their receivers again, each as a new message with the same content,\n" +
			"behind what waits there. A receiver that was named is looked up anew. One that cannot be given, as its receiver was\n" +
			"removed, is told on stderr and stays; the others are given all the same, and the exit code is 1.",
		Example: "  caxton dead-letter retry 0b8c65a4-9a2f-5d0e-8f0c-6a1f8f2a3b4c\n  caxton dead-letter retry --all",
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case all && len(args) > 0:
				return usagef("--all does not go with a MESSAGE-ID")
			case !all && len(args) == 0:
				return exactly("MESSAGE-ID")(cmd, args)
			case slices.Contains(args, ""):
				return usagef("MESSAGE-ID must not be empty")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.server()
			if err != nil {
				return err
			}
			if !all && len(args) == 1 {
				got, err := c.RetryLetter(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				a.tellRetried(got)
				return a.countRetried([]caxtonhttp.RetryReceipt{got})
			}
			if all {
				page, err := c.Letters(cmd.Context(), "", caxtonhttp.MaxPageLetters)
				if err != nil {
					return err
				}
				for _, l := range slices.Backward(page.Letters) { // the oldest first
					args = append(args, l.MessageID.String())
				}
				if more := page.Total - len(page.Letters); more > 0 {
					a.note("%d older ones are not tried", more)
				}
			}
			return a.retryLetters(cmd.Context(), c, args)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, fmt.Sprintf("the newest %d, the oldest of them first", caxtonhttp.MaxPageLetters))
	return cmd
}

// retryLetters retries one letter after the other, and goes on when one cannot be: its
// receiver may be gone for good. What keeps all of them from it ends it.
func (a *app) retryLetters(ctx context.Context, c *caxtonhttp.Client, ids []string) error {
	receipts, failed := []caxtonhttp.RetryReceipt{}, 0
	var ended error
	for _, id := range ids {
		got, err := c.RetryLetter(ctx, id)
		var problem *caxtonhttp.ProblemError
		switch {
		case err == nil:
			receipts = append(receipts, got)
			a.tellRetried(got)
			continue
		case errors.As(err, &problem) && exitCode(err) != exitUnreachable:
			a.note("%s", oneLine(err.Error()))
			failed++
			continue
		}
		ended = err
		break
	}
	if err := a.countRetried(receipts); err != nil || ended != nil {
		return errors.Join(ended, err)
	}
	if failed > 0 {
		return &failure{text: fmt.Sprintf("%d of %s not retried", failed, count(len(ids), "message"))}
	}
	return nil
}

// tellRetried prints one retry as it was made, unless -o asks for all of them at the end.
func (a *app) tellRetried(r caxtonhttp.RetryReceipt) {
	if a.output == "table" || a.output == "wide" {
		a.printf("message %s is %s as %s for agent %s\n", r.RetryOf, r.Status, r.MessageID, r.Receiver)
	}
}

func (a *app) countRetried(receipts []caxtonhttp.RetryReceipt) error {
	if done, err := a.structured(receipts); done {
		return err
	}
	a.printf("%s retried\n", count(len(receipts), "message"))
	return nil
}
