package main

import (
	"context"

	"github.com/spf13/cobra"

	caxtonhttp "github.com/caxton-run/caxton/http"
)

// withAll gives the command that resumes one agent a flag for all of them: it lifts an
// emergency stop, and resumes each agent that does not run.
func (a *app) withAll(cmd *cobra.Command) *cobra.Command {
	var all bool
	one, args := cmd.RunE, cmd.Args
	cmd.Use = "resume AGENT | --all"
	cmd.Example += "\n  caxton agents resume --all"
	cmd.Flags().BoolVar(&all, "all", false, "lift an emergency stop, and resume every agent that does not run")
	cmd.Args = func(cmd *cobra.Command, given []string) error {
		if all {
			return exactly()(cmd, given)
		}
		return args(cmd, given)
	}
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		if !all {
			return one(cmd, given)
		}
		c, err := a.server()
		if err != nil {
			return err
		}
		return a.resumeAll(cmd.Context(), c, cmd.Flag("reason").Value.String())
	}
	return cmd
}

func (a *app) resumeAll(ctx context.Context, c *caxtonhttp.Client, reason string) error {
	list, err := c.Agents(ctx)
	if err != nil {
		return err
	}
	resumed := 0
	for _, v := range list {
		if v.Status == "running" {
			continue
		}
		if _, err := c.Resume(ctx, v.ID.String(), reason); err != nil {
			return err
		}
		a.printf("%s (%s) is running\n", v.Name, v.ID)
		resumed++
	}
	lifted, err := c.EmergencyLift(ctx)
	if err != nil {
		return err
	}
	if lifted {
		a.printf("the emergency stop is lifted: agents run again\n")
	}
	a.printf("%s resumed\n", counted(resumed, "agent"))
	return nil
}
