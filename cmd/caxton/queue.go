package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	caxtonhttp "github.com/caxton-run/caxton/http"
)

// backlog is how many waiting messages are too many: the runbook's threshold.
const backlog = 10_000

func (a *app) queueCommand() *cobra.Command {
	cmd := a.noun("queue", "Look at what waits, and have it worked off", nil, "caxton queue stats")
	cmd.AddCommand(a.queueStatsCommand(), a.queueDrainCommand())
	return cmd
}

func (a *app) queueStatsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "stats",
		Short: "Show what waits on each node",
		Long: "Show what waits on each node: messages in mailboxes and the age of the oldest, writes kept until there is\n" +
			"a quorum, sends between agents that are not yet handled, and messages that nobody will handle. Says until when\n" +
			"a queue that is being drained takes no messages.",
		Example: "  caxton queue stats\n  caxton queue stats -o wide",
		Args:    exactly(),
		RunE:    listed(a, (*caxtonhttp.Client).Queue, a.queueTable),
	}
}

func (a *app) queueTable(list []caxtonhttp.NodeQueue) {
	header := []string{"NODE", "MAILBOX-DEPTH", "OLDEST", "QUEUED-WRITES", "IN-FLIGHT", "DEAD-LETTERS"}
	wide := a.output == "wide"
	if wide {
		header = append(header, "INBOXES", "HELD")
	}
	rows := make([][]string, len(list))
	for i, q := range list {
		oldest := "-"
		if q.MailboxDepth > 0 {
			oldest = brief(time.Duration(q.OldestMS) * time.Millisecond)
		}
		rows[i] = []string{string(q.Node), fmt.Sprint(q.MailboxDepth), oldest, fmt.Sprint(q.QueuedWrites), fmt.Sprint(q.InFlight), fmt.Sprint(q.DeadLetters)}
		if wide {
			rows[i] = append(rows[i], fmt.Sprint(q.InboxDepth), fmt.Sprint(q.Held))
		}
	}
	a.grid(header, rows)
	for _, q := range list {
		if !q.DrainingUntil.IsZero() {
			a.note("%s takes no messages from outside: its queue is being drained, until %s at the latest; caxton queue drain --cancel ends that",
				q.Node, q.DrainingUntil.UTC().Format(time.RFC3339))
		}
		if q.Waiting > backlog {
			a.note("WARNING: %d messages wait on %s; more than %d indicates backlog: see caxton agents slow", q.Waiting, q.Node, backlog)
		}
	}
}

func (a *app) queueDrainCommand() *cobra.Command {
	var (
		timeout time.Duration
		discard bool
		cancel  bool
	)
	cmd := &cobra.Command{
		Use:   "drain",
		Short: "Take no messages from outside until what waits is worked off",
		Long: "Take no messages from outside until what waits is worked off, or the time is over; then take them again.\n" +
			"What agents send to one another meanwhile is worked off too; what is held by suspended agents is left alone.\n" +
			"Exits 1 when something is left. With --discard that becomes dead letters instead.\n\n" +
			"A drain ends when this command is interrupted (SIGINT, SIGTERM). One whose command was killed goes on for its\n" +
			"time: --cancel ends the drain under way, whoever began it. caxton queue stats shows whether there is one.",
		Example: "  caxton queue drain --timeout 60s\n  caxton queue drain --cancel",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if timeout < 0 || timeout > caxtonhttp.MaxDrain {
				return usagef("--timeout must be 0s to %s, not %s", caxtonhttp.MaxDrain, timeout)
			}
			if cancel && (discard || cmd.Flags().Changed("timeout")) {
				return usagef("--cancel ends a drain, and takes neither --timeout nor --discard")
			}
			c, err := a.server()
			if err != nil {
				return err
			}
			if cancel {
				return a.cancelDrain(cmd.Context(), c)
			}
			got, err := c.DrainQueue(cmd.Context(), timeout, discard)
			if err != nil && cmd.Context().Err() != nil {
				return interruptedDrain(cmd.Context(), c, err)
			}
			if err != nil {
				return err
			}
			return a.showDrained(got)
		},
	}
	// It shadows the global --timeout: the runbook's flag is for the draining, and the
	// call's own time is added to it.
	cmd.Flags().DurationVar(&timeout, "timeout", time.Minute, fmt.Sprintf("for the queue to run empty, at most %s", caxtonhttp.MaxDrain))
	cmd.Flags().BoolVar(&discard, "discard", false, "make dead letters of what is left then")
	cmd.Flags().BoolVar(&cancel, "cancel", false, "end the drain that is under way, whoever began it")
	return cmd
}

// cancelDrain ends the drain under way. That there is none is no failure.
func (a *app) cancelDrain(ctx context.Context, c *caxtonhttp.Client) error {
	was, err := c.CancelDrain(ctx)
	if err != nil {
		return err
	}
	if done, err := a.structured(map[string]bool{"cancelled": was}); done || err != nil {
		return err
	}
	if was {
		a.printf("drain cancelled: messages are taken again\n")
	} else {
		a.printf("no drain is under way\n")
	}
	return nil
}

// cancelTime is how long an interrupted command tries to end its drain: a second
// signal ends it at once.
const cancelTime = 5 * time.Second

// interruptedDrain ends the drain of a command that was told to end, with its
// context, while it waited: the server does not see that it is gone.
func interruptedDrain(ctx context.Context, c *caxtonhttp.Client, err error) error {
	var refused *caxtonhttp.ProblemError
	var sent *caxtonhttp.UnansweredError
	switch {
	case errors.As(err, &refused):
		return err // it never began
	case !errors.As(err, &sent):
		return &failure{text: "interrupted: no drain of this command is under way"}
	}
	own, stop := context.WithTimeout(context.WithoutCancel(ctx), cancelTime)
	defer stop()
	was, err := c.CancelDrain(own)
	switch {
	case err != nil:
		return &failure{
			text: fmt.Sprintf("interrupted, and the drain could not be cancelled: %s", err),
			next: "no messages are taken until its time is over, or: caxton queue drain --cancel",
		}
	case !was:
		return &failure{text: "interrupted: the drain had ended"}
	}
	return &failure{text: "interrupted: the drain was cancelled, messages are taken again"}
}

// showDrained prints what became of the queue; what is left makes the command fail.
func (a *app) showDrained(got caxtonhttp.DrainResult) error {
	elapsed := brief(time.Duration(got.ElapsedMS) * time.Millisecond)
	left := 0
	for _, q := range got.Left {
		left += q.Waiting
	}
	done, err := a.structured(got)
	if err != nil {
		return err
	}
	if !done {
		if got.Discarded > 0 {
			a.printf("%s discarded: see caxton dead-letter list\n", count(got.Discarded, "message"))
		}
		if got.Empty {
			a.printf("queue drained in %s\n", elapsed)
		} else {
			a.queueTable(got.Left)
		}
	}
	switch {
	case got.Empty:
		return nil
	case got.Cancelled:
		return fmt.Errorf("the drain was cancelled after %s: %s left", elapsed, count(left, "message"))
	default:
		return fmt.Errorf("the queue is not empty after %s: %s left", elapsed, count(left, "message"))
	}
}

// brief is a duration as people write it: 250ms, 1.2s, 3m12s.
func brief(d time.Duration) string {
	unit := func(of time.Duration, name string) string {
		v := float64(d) / float64(of)
		if v >= 100 {
			return strconv.FormatFloat(v, 'f', 0, 64) + name
		}
		return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0") + name
	}
	switch {
	case d == 0:
		return "0s"
	case d < time.Millisecond:
		return unit(time.Microsecond, "µs")
	case d < time.Second:
		return unit(time.Millisecond, "ms")
	case d < time.Minute:
		return unit(time.Second, "s")
	}
	return age(d)
}
