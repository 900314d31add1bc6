package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
	caxtonhttp "github.com/caxton-run/caxton/http"
)

// StopAll implements caxtonhttp.Emergency.
func (o operations) StopAll(ctx context.Context, r actors.StopAllRequest) (caxtonhttp.EmergencyStop, error) {
	got, err := o.system.Gateway().StopAll(ctx, r)
	ends := endsNode(r, got, err)
	if ends {
		o.shutdown() // ends after the request that asked
	}
	out := caxtonhttp.EmergencyStop{
		Node: o.id(), Since: got.Since, Agents: got.Agents, Guests: got.Guests, GuestsUS: got.GuestsIn.Microseconds(),
		Spilled: got.Spilled, Left: got.Left, ElapsedUS: got.Elapsed.Microseconds(), Shutdown: ends,
	}
	if got.Unrecorded != nil {
		out.RecordError = got.Unrecorded.Error()
	}
	if got.DumpFailed != nil {
		out.DumpError = got.DumpFailed.Error()
	} else if got.Dump.Dir != "" {
		out.Dump = &got.Dump
	}
	return out, err
}

// endsNode reports whether an emergency stop shuts its node down, as it was asked to. One
// that is not in force, or not in the log, does not: the next start would have all agents
// run. One that is recorded does, though guests run still: that ends them.
func endsNode(r actors.StopAllRequest, got actors.StoppedAll, err error) bool {
	var refused *events.InvalidError
	none := errors.As(err, &refused) || errors.Is(err, events.ErrConflict)
	return r.Cluster && !none && got.Unrecorded == nil
}

// LiftStop implements caxtonhttp.Emergency.
func (o operations) LiftStop(ctx context.Context, c actors.Caller) (bool, error) {
	return o.system.Gateway().LiftStop(ctx, c)
}

func (a *app) emergencyCommand() *cobra.Command {
	cmd := a.noun("emergency", "Stop all agents at once", nil, "caxton emergency stop")
	cmd.AddCommand(a.emergencyStopCommand(), a.emergencyLiftCommand())
	return cmd
}

func (a *app) emergencyStopCommand() *cobra.Command {
	var in caxtonhttp.StopOrder
	cmd := &cobra.Command{
		Use:   "stop",
		Short: "Stop all agents at once, whatever they are doing; nothing is lost",
		Long: "Stop all agents at once, whatever they are doing, and keep them stopped over restarts of the server. What was\n" +
			"accepted is kept, new messages are accepted and kept. It does not ask. Undo it with: caxton agents resume --all",
		Example: "  caxton emergency stop --all-agents\n  caxton emergency stop --cluster\n" +
			"  caxton emergency stop --preserve-state --dump-to /backup/emergency/",
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if all, err := cmd.Flags().GetBool("all-agents"); err != nil || !all {
				return errors.Join(err, usagef("--all-agents=false stops nothing: to stop some agents use caxton agents stop"))
			}
			c, err := a.server()
			if err != nil {
				return err
			}
			in.Reason = a.fitReason(in.Reason)
			got, err := c.EmergencyStop(cmd.Context(), in)
			if err != nil {
				return err
			}
			return a.showStop(in, got)
		},
	}
	f := cmd.Flags()
	f.Bool("all-agents", true, "stop all agents: what it does without flags too")
	f.BoolVar(&in.Cluster, "cluster", false, "shut the nodes down too")
	f.BoolVar(&in.Preserve, "preserve-state", false, "dump the state of all agents; needs --dump-to")
	f.StringVar(&in.DumpTo, "dump-to", "", "directory on the server, within one that security.dump_dirs lists")
	f.StringVar(&in.Reason, "reason", "", "why, for the record")
	return cmd
}

// fitReason cuts a reason that is too long for the record: nobody who stops everything
// should be told to write less.
func (a *app) fitReason(reason string) string {
	const more = "…"
	if len(reason) <= actors.MaxReason {
		return reason
	}
	a.note("only the first %d bytes of the reason are recorded", actors.MaxReason-len(more))
	return strings.ToValidUTF8(reason[:actors.MaxReason-len(more)], "") + more
}

// tellingOfStop is a command that says afterwards whether an emergency stop is in force:
// the status of an agent is what it will be when that is lifted.
func (a *app) tellingOfStop(run func(*cobra.Command, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := run(cmd, args); err != nil {
			return err
		}
		c, err := a.server()
		if err != nil {
			return err
		}
		if s, err := c.ClusterStatus(cmd.Context()); err == nil && s.Status == caxtonhttp.StatusStopped {
			a.note("an emergency stop is in force: no agent runs until it is lifted, with: caxton agents resume --all")
		}
		return nil // what was asked for is done
	}
}

// showStop prints what was stopped. A record or a dump that failed makes the command
// fail: the agents are stopped, and that is said first.
func (a *app) showStop(in caxtonhttp.StopOrder, got caxtonhttp.EmergencyStop) error {
	done, err := a.structured(got)
	if err != nil {
		return err
	}
	if !done {
		us := func(n int64) string { return brief(time.Duration(n) * time.Microsecond) }
		a.printf("%s: %s stopped in %s, no guest runs; %s interrupted, %s kept\n", got.Node,
			count(got.Agents, "agent"), us(got.GuestsUS), count(got.Guests, "guest"), count(got.Spilled, "waiting message"))
		if got.Left > 0 {
			a.note("WARNING: %s could not be put into inboxes and wait in memory", count(got.Left, "message"))
		}
		if got.Dump != nil {
			a.printf("%s: state of %s (%s) dumped to %s\n", got.Node, count(got.Dump.Agents, "agent"), sizeOf(uint64(got.Dump.Bytes)), got.Dump.Dir)
		}
		if got.Shutdown {
			a.printf("%s: shuts down; its agents stay stopped when it is started\n", got.Node)
		}
	}
	if got.RecordError != "" {
		text := "the agents are stopped until the server ends, and no longer: it could not be recorded: " + got.RecordError
		if in.Cluster && !got.Shutdown {
			text = "the server is not shut down; " + text
		}
		return &failure{text: text, next: "when the log takes writes again, stop them once more"}
	}
	if got.DumpError != "" {
		return &failure{text: "the agents are stopped, and their state was not dumped: " + got.DumpError}
	}
	a.note("let them run again with: caxton agents resume --all")
	return nil
}

func (a *app) emergencyLiftCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "lift",
		Short:   "Let agents run again after an emergency stop, as they were before it",
		Example: "  caxton emergency lift",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.server()
			if err != nil {
				return err
			}
			lifted, err := c.EmergencyLift(cmd.Context())
			if err != nil {
				return err
			}
			if !lifted {
				a.printf("no emergency stop is in force\n")
				return nil
			}
			a.printf("the emergency stop is lifted: agents run again\n")
			return nil
		},
	}
}
