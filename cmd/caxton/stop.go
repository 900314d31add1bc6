package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	caxtonhttp "github.com/caxton-run/caxton/http"
	"github.com/caxton-run/caxton/projections"
)

// stopPoll is how often "agent stop --wait" looks whether the agent has stopped.
const stopPoll = 100 * time.Millisecond

// stopSlack is what --wait allows beyond the grace: the kill of a busy guest, one
// append, and one look.
const stopSlack = 5 * time.Second

func (a *app) stopCommand() *cobra.Command {
	var (
		how      caxtonhttp.Stopping
		no, wait bool
	)
	cmd := &cobra.Command{
		Use:   "stop AGENT",
		Short: "Put an agent out of service; resume or restart brings it back",
		Long: "Put an agent out of service. It takes nothing new and works off what waits, for as long as the grace\n" +
			"lasts; then it is stopped, whatever its guest does. What is acknowledged and not handled by then is kept.\n" +
			"\"resume\" lets it go on as it was; \"restart\" does too, with an empty memory.\n\n" +
			"Returns when that has begun, durably. A message under way may keep it waiting: after 2s stop says so and\n" +
			"returns; the agent takes nothing new, and the stop is made when the message ends, or the grace. Only the end\n" +
			"of the node before that, or a log that cannot be written, loses it. With --wait it returns when the agent has stopped.",
		Example:           "  caxton agent stop counter --wait\n  caxton agent stop counter --no-drain --grace 0s --reason \"wrong module\"",
		Args:              exactly("AGENT"),
		ValidArgsFunction: a.completeAgents,
		RunE: func(cmd *cobra.Command, args []string) error {
			how.Drain = !no
			if how.Grace < 0 || how.Grace%time.Second != 0 {
				return usagef("--grace must be whole seconds, 0s to 1h, not %s", how.Grace)
			}
			c, err := a.server()
			if err != nil {
				return err
			}
			v, err := c.Stop(cmd.Context(), args[0], how)
			if err != nil {
				return err
			}
			if wait {
				if v.AgentView, err = awaitStop(cmd.Context(), c, v, how.Grace); err != nil {
					return err
				}
				v.Requested = false
			}
			return a.showStopping(v, how.Grace)
		},
	}
	f := cmd.Flags()
	f.StringVar(&how.Reason, "reason", "", "why, for its history")
	f.DurationVar(&how.Grace, "grace", caxtonhttp.DefaultGrace, "for what waits and for the message under way, 0s to 1h")
	f.BoolVar(&no, "no-drain", false, "keep what waits instead of working it off")
	f.BoolVar(&wait, "wait", false, "return when it has stopped")
	return cmd
}

// awaitStop returns the agent when it is not draining any more, nor about to.
func awaitStop(ctx context.Context, c *caxtonhttp.Client, told caxtonhttp.StoppedAgent, grace time.Duration) (projections.AgentView, error) {
	v := told.AgentView
	waits := func() bool {
		return v.Status == "draining" || told.Requested && v.Status == told.Status && v.Status != "stopped"
	}
	ctx, cancel := context.WithTimeout(ctx, grace+stopSlack)
	defer cancel()
	poll := time.NewTicker(stopPoll)
	defer poll.Stop()
	for waits() {
		select {
		case <-poll.C:
		case <-ctx.Done():
			return v, &failure{text: v.Name + " is still " + v.Status, next: "look again with: caxton agent get " + v.ID.String()}
		}
		next, err := c.Agent(ctx, v.ID.String())
		if err != nil {
			return v, err
		}
		v = next
	}
	return v, nil
}

// showStopping prints an agent that was told to stop, and whether that waits.
func (a *app) showStopping(v caxtonhttp.StoppedAgent, grace time.Duration) error {
	if !v.Requested {
		return a.showChanged(v.AgentView)
	}
	if done, err := a.structured(v); done {
		return err
	}
	a.printf("%s (%s) is to stop, and takes nothing new: the stop waits for the message under way, %s at most, or what a stop before it allows\n", v.Name, v.ID, grace)
	a.printf("see what has become of it with: caxton agent get %s\n", v.ID)
	return nil
}

// showChanged prints an agent after a change of its status.
func (a *app) showChanged(v projections.AgentView) error {
	if done, err := a.structured(v); done {
		return err
	}
	a.printf("%s (%s) is %s\n", v.Name, v.ID, a.status(v.Status))
	return nil
}
