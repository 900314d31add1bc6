package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/caxton-run/caxton/events"
	caxtonhttp "github.com/caxton-run/caxton/http"
)

// updateFlags is what the flags of "agent update" say.
type updateFlags struct {
	limits   limitFlags
	priority string
	labels   []string
	noLabels bool
	reason   string
	dryRun   bool
}

func (a *app) updateCommand() *cobra.Command {
	var in updateFlags
	cmd := &cobra.Command{
		Use:   "update AGENT [FILE]",
		Short: "Change an agent's module, limits, priority or labels",
		Long: "Change an agent's module, limits, priority or labels; what is not named stays.\n" +
			"A new module begins with an empty memory and the agent's state. Its caxton_migrate, if it exports one,\n" +
			"may change the state first; if that fails, the agent goes on as it was.\n" +
			"--dry-run changes nothing: it runs messages that the agent has handled on the new module and shows the\n" +
			"first that would have ended otherwise; then the exit code is 1.",
		Example: "  caxton agent update counter counter-2.wasm --dry-run\n  caxton agent update counter counter-2.wasm\n" +
			"  caxton agent update counter --max-memory 128MiB --priority high --label team=sales",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				return exactly("AGENT", "FILE")(cmd, args)
			}
			return exactly("AGENT")(cmd, args)
		},
		ValidArgsFunction: a.completeAgents,
		RunE: func(cmd *cobra.Command, args []string) error {
			ch, err := in.changes(cmd.Flags().Changed)
			if err != nil {
				return err
			}
			if len(args) == 2 {
				if ch.Wasm, err = a.readModule(args[1]); err != nil {
					return err
				}
			}
			c, err := a.server()
			if err != nil {
				return err
			}
			if in.dryRun {
				out, err := c.TryUpdate(cmd.Context(), args[0], ch)
				if err != nil {
					return err
				}
				return a.showTrial(out)
			}
			v, err := c.Update(cmd.Context(), args[0], ch)
			if err != nil {
				return err
			}
			for _, w := range v.Warnings {
				a.note("warning: %s", oneLine(w))
			}
			if done, err := a.structured(v); done {
				return err
			}
			a.printf("%s (%s) is updated: module %.12s, revision %d\n", v.Name, v.ID, v.Module, v.Revision)
			return nil
		},
	}
	in.limits.add(cmd, "the agent's")
	f := cmd.Flags()
	f.StringVar(&in.priority, "priority", "", "low, normal, high or critical (default the agent's)")
	f.StringArrayVar(&in.labels, "label", nil, "key=value, in place of all the agent has; may be given again")
	f.BoolVar(&in.noLabels, "no-labels", false, "take the agent's labels away")
	f.StringVar(&in.reason, "reason", "", "why, for its history")
	f.BoolVar(&in.dryRun, "dry-run", false, "only tell what would be otherwise")
	return cmd
}

// changes checks the flags.
func (in updateFlags) changes(given func(string) bool) (caxtonhttp.Changes, error) {
	ch := caxtonhttp.Changes{Reason: in.reason}
	var err error
	if ch.Limits, err = in.limits.resources(given); err != nil {
		return ch, err
	}
	if given("priority") {
		if ch.Priority, err = events.ParsePriority(in.priority); err != nil {
			return ch, usagef("--%s", err)
		}
	}
	if in.noLabels {
		if len(in.labels) > 0 {
			return ch, usagef("--no-labels does not go with --label")
		}
		ch.Labels = events.Labels{}
		return ch, nil
	}
	ch.Labels, err = parseLabels(in.labels)
	return ch, err
}

// parseLabels reads key=value pairs; nil when there are none.
func parseLabels(pairs []string) (events.Labels, error) {
	var labels events.Labels
	for _, pair := range pairs {
		k, v, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, usagef("--label must be key=value, not %q", pair)
		}
		if labels == nil {
			labels = events.Labels{}
		}
		labels[k] = v
	}
	if err := labels.Validate(); err != nil {
		return nil, usagef("--%s", err)
	}
	return labels, nil
}

// showTrial prints what a dry run came to. A difference, or a migration that would
// fail, makes the command fail.
func (a *app) showTrial(out caxtonhttp.DryRun) error {
	done, err := a.structured(out)
	if err != nil {
		return err
	}
	d, m := out.Difference, out.Migration
	failed := m != nil && m.Outcome != events.OutcomeOK
	if !done {
		if m != nil {
			a.printf("migration: %s %s(%d changes of state, fuel %d)\n", m.Outcome, spaced(oneLine(m.Detail)), m.State, m.Fuel)
		}
		switch {
		case d != nil:
			a.printf("%s tried, from revision %d; message %s (revision %d) differs in its %s\nrecorded: %s\nnow:      %s\n",
				count(out.Messages, "message"), out.From, d.MessageID, d.Revision, d.What, oneLine(d.Recorded), oneLine(d.Now))
		default:
			a.printf("%s tried, from revision %d: no difference\n", count(out.Messages, "message"), out.From)
		}
		if !out.Complete {
			a.note("the time ended before all messages were tried")
		}
		if out.HistoryFrom > 0 {
			a.note("history before revision %d was removed by events.retention; what came before revision %d cannot be tried", uint64(out.HistoryFrom), uint64(out.From))
		}
		if !out.FromMemory {
			a.note("the agent has handled more: what its memory held before is not there, and may be what differs")
		}
	}
	switch {
	case failed:
		return &failure{text: "the migration would fail"}
	case d != nil:
		return &failure{text: "the new module differs"}
	}
	return nil
}

// spaced puts a space behind what is not empty.
func spaced(s string) string {
	if s == "" {
		return ""
	}
	return s + " "
}
