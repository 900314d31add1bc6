package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
	caxtonhttp "github.com/caxton-run/caxton/http"
)

// bulkFlags choose many agents for a command that otherwise takes one.
type bulkFlags struct {
	all      bool
	status   string
	priority string
	labels   []string
	dryRun   bool
}

// withMany gives a command for one agent the flags that mean many. resume --all lifts
// an emergency stop as well.
func (a *app) withMany(action actors.Action, cmd *cobra.Command) *cobra.Command {
	var in bulkFlags
	one, args := cmd.RunE, cmd.Args
	cmd.Use = string(action) + " AGENT | --all | --priority P | --status S | --label K=V"
	cmd.Example += "\n  caxton agents " + string(action) + " --priority low --label team=sales"
	f := cmd.Flags()
	f.BoolVar(&in.all, "all", false, "every agent"+map[bool]string{true: "; lifts an emergency stop"}[action == actors.ActionResume])
	f.StringVar(&in.status, "status", "", "agents that are running, suspended, draining, stopped or failed")
	f.StringVar(&in.priority, "priority", "", "agents of priority low, normal, high or critical")
	f.StringArrayVar(&in.labels, "label", nil, "agents with the label key=value; may be given again, all must fit")
	f.BoolVar(&in.dryRun, "dry-run", false, "only tell which agents are meant (not for one AGENT)")
	many := func() bool { return in.all || in.status != "" || in.priority != "" || len(in.labels) > 0 }
	cmd.Args = func(cmd *cobra.Command, given []string) error {
		switch {
		case many():
			return exactly()(cmd, given)
		case in.dryRun:
			return usagef("--dry-run goes with --all, --status, --priority or --label")
		}
		return args(cmd, given)
	}
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		if !many() {
			return one(cmd, given)
		}
		req, err := in.request(action, cmd)
		if err != nil {
			return err
		}
		return a.doMany(cmd, req)
	}
	return cmd
}

// request checks the flags, those of the command for one agent too.
func (in bulkFlags) request(action actors.Action, cmd *cobra.Command) (actors.BulkRequest, error) {
	r := actors.BulkRequest{Action: action, DryRun: in.dryRun, Drain: true, Grace: caxtonhttp.DefaultGrace}
	r.Filter = actors.Filter{All: in.all, Status: in.status}
	var err error
	if in.priority != "" {
		if r.Filter.Priority, err = events.ParsePriority(in.priority); err != nil {
			return r, usagef("--%s", err)
		}
	}
	if r.Filter.Labels, err = parseLabels(in.labels); err != nil {
		return r, err
	}
	if in.all && r.Filter.Validate() != nil {
		return r, usagef("--all does not go with --status, --priority or --label")
	}
	f := cmd.Flags()
	if wait := f.Lookup("wait"); wait != nil && wait.Value.String() == "true" {
		return r, usagef("--wait is for one AGENT")
	}
	if f.Lookup("reason") != nil {
		r.Reason = f.Lookup("reason").Value.String()
	}
	if f.Lookup("grace") != nil {
		if r.Grace, err = f.GetDuration("grace"); err != nil {
			return r, err
		}
		no, err := f.GetBool("no-drain")
		r.Drain = !no
		return r, err
	}
	return r, nil
}

// doMany carries a request out. What cannot be undone is asked about first, with the
// number of agents that it is about.
func (a *app) doMany(cmd *cobra.Command, r actors.BulkRequest) error {
	c, err := a.server()
	if err != nil {
		return err
	}
	if yes := cmd.Flags().Lookup("yes"); yes != nil && yes.Value.String() != "true" && !r.DryRun {
		dry := r
		dry.DryRun = true
		out, err := c.Bulk(cmd.Context(), dry)
		if err != nil {
			return err
		}
		if out.Matched == 0 { // nobody to ask about, and nothing is done to whom comes meanwhile
			out.DryRun = false
			return a.showMany(cmd.Context(), c, r, out)
		}
		if err := a.confirm(fmt.Sprintf("%s %s", r.Action, count(out.Matched, "agent"))); err != nil {
			return err
		}
	}
	out, err := c.Bulk(cmd.Context(), r)
	if err != nil {
		return err
	}
	return a.showMany(cmd.Context(), c, r, out)
}

// showMany prints what was done, and a count. Agents that it failed for make the
// command fail.
func (a *app) showMany(ctx context.Context, c *caxtonhttp.Client, r actors.BulkRequest, out actors.BulkResult) error {
	done, err := a.structured(out)
	if err != nil {
		return err
	}
	is, was := outcomeOf(r.Action)
	for _, v := range out.Agents {
		switch {
		case done:
		case v.Error != "":
			a.note("%s (%s): %s", v.Name, v.ID, oneLine(v.Error))
		case r.DryRun:
			a.printf("%s (%s) is %s, and would be %s\n", v.Name, v.ID, v.From, is)
		default:
			a.printf("%s (%s) is %s\n", v.Name, v.ID, is)
		}
	}
	if named := len(out.Agents); named < out.Changed+out.Failed && !done {
		a.note("and %d more", out.Changed+out.Failed-named)
	}
	if r.Action == actors.ActionResume && r.Filter.All && !r.DryRun {
		lifted, err := c.EmergencyLift(ctx)
		if err != nil {
			return err
		}
		if lifted && !done {
			a.printf("the emergency stop is lifted: agents run again\n")
		}
	}
	if !done {
		would := map[bool]string{true: " would be"}[r.DryRun]
		a.printf("%s%s %s\n", count(out.Changed, "agent"), would, was)
	}
	if out.Failed > 0 {
		return &failure{text: fmt.Sprintf("%s not %s", count(out.Failed, "agent"), was)}
	}
	return nil
}

// outcomeOf says what an agent is after an action, and what was done to it.
func outcomeOf(action actors.Action) (is, was string) {
	switch action {
	case actors.ActionSuspend:
		return "suspended", "suspended"
	case actors.ActionResume:
		return "running", "resumed"
	case actors.ActionStop:
		return "stopped, or draining", "stopped"
	case actors.ActionRestart:
		return "running, with an empty memory", "restarted"
	}
	return "removed", "removed"
}
