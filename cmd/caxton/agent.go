package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
	caxtonhttp "github.com/caxton-run/caxton/http"
	"github.com/caxton-run/caxton/projections"
)

func (a *app) agentCommand() *cobra.Command {
	cmd := a.noun("agent", "Deploy, look at and change agents", []string{"agents"},
		"caxton agent init --lang go tally\n  caxton agent run counter.wasm --message '{\"op\":\"get\"}'\n"+
			"  caxton agent deploy counter.wasm --name counter\n  caxton agent list")
	cmd.AddCommand(a.deployCommand(), a.listCommand(), a.getCommand(), a.eventsCommand(),
		a.withMany(actors.ActionSuspend, a.changeCommand("suspend", "Hold agents still; their messages are kept", (*caxtonhttp.Client).Suspend)),
		a.withMany(actors.ActionResume, a.changeCommand("resume", "Let agents that are suspended, stopped or failed go on as they were", (*caxtonhttp.Client).Resume)),
		a.updateCommand(),
		a.withMany(actors.ActionStop, a.stopCommand()),
		a.withMany(actors.ActionRestart, a.changeCommand("restart", "Let agents begin anew with an empty memory; their state is kept", (*caxtonhttp.Client).Restart)),
		a.withMany(actors.ActionRemove, a.removeCommand()))
	cmd.AddCommand(a.initCommand(), a.checkCommand(), a.runCommand()) // these need no server
	cmd.AddCommand(a.slowCommand())
	return cmd
}

func (a *app) listCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List all agents",
		Example: "  caxton agent list\n  caxton agent list -o wide",
		Args:    exactly(),
		RunE:    a.tellingOfStop(listed(a, (*caxtonhttp.Client).Agents, a.agentTable)),
	}
}

func (a *app) agentTable(list []projections.AgentView) {
	header := []string{"AGENT-ID", "NAME", "STATUS", "NODE", "MESSAGES", "UPTIME"}
	wide := a.output == "wide"
	if wide {
		header = append(header, "FAILED", "PRIORITY", "MAX-MEMORY", "FUEL-USED", "REVISION", "MODULE")
	}
	rows := make([][]string, len(list))
	for i, v := range list {
		rows[i] = []string{v.ID.String(), v.Name, a.status(v.Status), string(v.Node),
			fmt.Sprint(v.MessagesHandled), age(a.now().Sub(v.CreatedAt))}
		if wide {
			rows[i] = append(rows[i], fmt.Sprint(v.MessagesFailed), string(v.Priority), bytesOf(v.Limits.MaxMemoryBytes),
				fmt.Sprint(uint64(v.FuelUsed)), fmt.Sprint(uint64(v.Revision)), fmt.Sprintf("%.12s", v.Module))
		}
	}
	a.grid(header, rows)
	if len(list) == 1 {
		a.printf("1 agent\n")
		return
	}
	a.printf("%d agents\n", len(list))
}

func (a *app) getCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "get AGENT",
		SuggestFor:        []string{"show", "describe", "inspect", "status"},
		Short:             "Show one agent; AGENT is an id, the beginning of one, or a name",
		Example:           "  caxton agent get counter\n  caxton agent get 550e8400 -o json",
		Args:              exactly("AGENT"),
		ValidArgsFunction: a.completeAgents,
		RunE: a.tellingOfStop(func(cmd *cobra.Command, args []string) error {
			c, err := a.server()
			if err != nil {
				return err
			}
			v, err := c.Agent(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if done, err := a.structured(v); done {
				return err
			}
			a.describe(v)
			return nil
		}),
	}
}

// describe prints an agent as a list of its fields.
func (a *app) describe(v projections.AgentView) {
	line := func(name, format string, args ...any) {
		a.printf("%-13s %s\n", name+":", fmt.Sprintf(format, args...))
	}
	line("ID", "%s", v.ID)
	line("Name", "%s", v.Name)
	line("Status", "%s", a.status(v.Status))
	line("Node", "%s", v.Node)
	line("Priority", "%s", v.Priority)
	for _, k := range sortedKeys(v.Labels) {
		line("Label", "%s=%s", k, v.Labels[k])
	}
	line("Module", "%s (%s)", v.Module, bytesOf(uint64(v.ModuleSize)))
	line("Limits", "memory %s, fuel %d, time %dms, per message", bytesOf(v.Limits.MaxMemoryBytes), v.Limits.MaxFuel, v.Limits.MaxExecutionTimeMS)
	line("Messages", "%d handled, %d failed", v.MessagesHandled, v.MessagesFailed)
	line("Fuel used", "%d", v.FuelUsed)
	line("Revision", "%d", v.Revision)
	if v.HistoryFrom > 0 {
		line("History", "from revision %d on; the rest was removed on %s", v.HistoryFrom, v.HistoryRemovedAt.UTC().Format(time.RFC3339))
	}
	line("Created", "%s (%s ago)", v.CreatedAt.Format("2006-01-02T15:04:05Z07:00"), age(a.now().Sub(v.CreatedAt)))
	if len(v.Capabilities) > 0 {
		line("Capabilities", "%s", strings.Join(v.Capabilities, ", "))
	}
	if v.Timers > 0 {
		line("Timers", "%d pending", v.Timers)
	}
	if v.LastError != nil {
		line("Last error", "%s: %s (%s ago)", v.LastError.Outcome, oneLine(v.LastError.Detail), age(a.now().Sub(v.LastError.At)))
	}
	for _, w := range v.Warnings {
		line("Warning", "%s", oneLine(w))
	}
}

// changeCommand is a command that moves an agent to another status.
func (a *app) changeCommand(verb, short string, change func(*caxtonhttp.Client, context.Context, string, string) (projections.AgentView, error)) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:               verb + " AGENT",
		Short:             short,
		Example:           "  caxton agent " + verb + " processor-5 --reason \"too slow\"",
		Args:              exactly("AGENT"),
		ValidArgsFunction: a.completeAgents,
		RunE: a.tellingOfStop(func(cmd *cobra.Command, args []string) error {
			c, err := a.server()
			if err != nil {
				return err
			}
			v, err := change(c, cmd.Context(), args[0], reason)
			if err != nil {
				return err
			}
			return a.showChanged(v)
		}),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for its history")
	return cmd
}

func (a *app) removeCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:               "remove AGENT",
		SuggestFor:        []string{"delete", "destroy", "undeploy"},
		Aliases:           []string{"rm"},
		Short:             "End an agent for good; its history stays",
		Example:           "  caxton agent remove counter --yes",
		Args:              exactly("AGENT"),
		ValidArgsFunction: a.completeAgents,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.server()
			if err != nil {
				return err
			}
			v, err := c.Agent(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			what := fmt.Sprintf("%s (%s)", v.Name, v.ID)
			if !yes {
				if err := a.confirm("remove " + what); err != nil {
					return err
				}
			}
			if err := c.Remove(cmd.Context(), v.ID.String()); err != nil {
				return err
			}
			v.Status = "removed"
			if done, err := a.structured(v); done {
				return err
			}
			a.printf("%s is removed\n", what)
			return nil
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// confirm asks before something that cannot be undone. Without a terminal there
// is nobody to ask.
func (a *app) confirm(what string) error {
	if !isTerminal(a.stdin) {
		return &usageError{text: "will not " + what + " without asking, and there is no terminal to ask at", next: "say so with: --yes"}
	}
	_, _ = fmt.Fprintf(a.stderr, "%s%s? [y/N] ", strings.ToUpper(what[:1]), what[1:])
	answer, _ := bufio.NewReader(a.stdin).ReadString('\n')
	if s := strings.ToLower(strings.TrimSpace(answer)); s == "y" || s == "yes" {
		return nil
	}
	return fmt.Errorf("nothing was done")
}

func (a *app) eventsCommand() *cobra.Command {
	var in pageFlags
	cmd := &cobra.Command{
		Use:               "events AGENT",
		SuggestFor:        []string{"history", "logs", "log"},
		Short:             "Show an agent's history, a removed one's too by its id",
		Example:           "  caxton agent events counter --backwards --limit 10\n  caxton agent events counter -o json",
		Args:              exactly("AGENT"),
		ValidArgsFunction: a.completeAgents,
		RunE: func(cmd *cobra.Command, args []string) error {
			q, err := in.query(cmd)
			if err != nil {
				return err
			}
			return a.showEvents(cmd.Context(), args[0], q)
		},
	}
	in.register(cmd, "events")
	return cmd
}

// pageFlags say which part of a history is shown.
type pageFlags struct {
	from      uint64
	limit     int
	backwards bool
}

func (f *pageFlags) register(cmd *cobra.Command, what string) {
	cmd.Flags().Uint64Var(&f.from, "from", 0, "first revision to show")
	cmd.Flags().IntVar(&f.limit, "limit", caxtonhttp.PageEvents, fmt.Sprintf("%s to show, 1 to %d", what, caxtonhttp.MaxPageEvents))
	cmd.Flags().BoolVar(&f.backwards, "backwards", false, "newest first")
}

func (f *pageFlags) query(cmd *cobra.Command) (caxtonhttp.EventQuery, error) {
	q := caxtonhttp.EventQuery{Limit: f.limit}
	if f.limit < 1 || f.limit > caxtonhttp.MaxPageEvents {
		return q, usagef("--limit must be 1 to %d, not %d", caxtonhttp.MaxPageEvents, f.limit)
	}
	if cmd.Flags().Changed("from") {
		rev := events.Revision(f.from)
		q.From = &rev
	}
	if f.backwards {
		q.Direction = events.Backwards
	}
	return q, nil
}

// noteRemoved says what is missing before the first event of a history, and since when,
// if that is known.
func (a *app) noteRemoved(first events.Revision, at *time.Time) {
	if first == 0 {
		return
	}
	when := ""
	if at != nil {
		when = " on " + at.UTC().Format(time.RFC3339)
	}
	a.note("history before revision %d was removed by events.retention%s", uint64(first), when)
}

func (a *app) showEvents(ctx context.Context, ref string, q caxtonhttp.EventQuery) error {
	c, err := a.server()
	if err != nil {
		return err
	}
	page, next, err := c.Events(ctx, ref, q)
	if err != nil {
		return err
	}
	if next != nil { // beside the output: -o json is of this page alone
		defer a.note("there are more: --from %d", uint64(*next.From))
	}
	if len(page) > 0 && page[0].Revision > 0 && q.From == nil && q.Direction == events.Forwards {
		var at *time.Time
		if v, err := c.Agent(ctx, ref); err == nil { // a removed agent has no view
			at = v.HistoryRemovedAt
		}
		a.noteRemoved(page[0].Revision, at)
	}
	if done, err := a.structured(page); done {
		return err
	}
	header := []string{"REVISION", "TYPE", "RECORDED-AT", "POSITION"}
	if a.output == "wide" {
		header = append(header, "EVENT-ID", "DATA")
	}
	rows := make([][]string, len(page))
	for i, ev := range page {
		rows[i] = []string{fmt.Sprint(uint64(ev.Revision)), string(ev.Type),
			ev.RecordedAt.Format("2006-01-02T15:04:05.000Z07:00"), fmt.Sprint(uint64(ev.Position))}
		if a.output == "wide" {
			rows[i] = append(rows[i], ev.ID.String(), oneLine(string(ev.Data)))
		}
	}
	a.grid(header, rows)
	return nil
}
