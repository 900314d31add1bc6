package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
	caxtonhttp "github.com/caxton-run/caxton/http"
)

// Breakers implements caxtonhttp.Breakers.
func (o operations) Breakers() []actors.BreakerView { return o.system.Breakers() }

// OrderBreaker implements caxtonhttp.Breakers.
func (o operations) OrderBreaker(ctx context.Context, r actors.BreakerRequest) ([]actors.BreakerView, error) {
	return o.system.Gateway().OrderBreaker(ctx, r)
}

// breakersIn counts the breakers of a kind that stand at a state, for metrics.
func (n *node) breakersIn(kind, state string) int {
	count := 0
	for _, v := range n.system.Breakers() {
		if k, _ := v.Scope.Split(); string(k) == kind && string(v.State) == state {
			count++
		}
	}
	return count
}

func (a *app) breakerCommand() *cobra.Command {
	cmd := a.noun("circuit-breaker", "Look at circuit breakers, open and reset them", []string{"circuit-breakers"}, "caxton circuit-breaker status")
	cmd.AddCommand(a.breakerStatusCommand(), a.breakerActivateCommand(), a.breakerResetCommand())
	return cmd
}

func (a *app) breakerStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "status",
		Short:   "Show the breaker of all agents, and all that are not closed",
		Example: "  caxton circuit-breaker status",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.server()
			if err != nil {
				return err
			}
			list, err := c.Breakers(cmd.Context())
			if err != nil {
				return err
			}
			return a.showBreakers(list)
		},
	}
}

// breakerScope is the flags that name a breaker.
type breakerScope struct {
	all                     bool
	agent, node, capability string
}

func (s *breakerScope) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&s.all, "all", false, "of all agents")
	f.StringVar(&s.agent, "agent", "", "of one agent: an id, the beginning of one, or a name")
	f.StringVar(&s.node, "node", "", "of all agents of a node")
	f.StringVar(&s.capability, "capability", "", "of all agents that offer it")
}

// into sets what an order is about. A flag that is given with nothing in it is not one
// that is left out: a reset without any is of every breaker.
func (s *breakerScope) into(cmd *cobra.Command, o *caxtonhttp.BreakerOrder) error {
	given := 0
	for kind, name := range map[events.BreakerKind]string{ // a flag is called as what it is of
		events.BreakerAgent: s.agent, events.BreakerNode: s.node, events.BreakerCapability: s.capability,
	} {
		if !cmd.Flags().Changed(string(kind)) {
			continue
		}
		if name == "" {
			return usagef("--%s must name one", kind)
		}
		o.Scope, o.Name = kind, name
		given++
	}
	if s.all {
		o.Scope, o.Name = events.BreakerAll, ""
		given++
	}
	if given > 1 {
		return usagef("only one of --all, --agent, --node and --capability is taken")
	}
	return nil
}

func (a *app) breakerActivateCommand() *cobra.Command {
	var (
		scope breakerScope
		in    = caxtonhttp.BreakerOrder{Action: "activate"}
	)
	cmd := &cobra.Command{
		Use:   "activate --all | --agent A | --node N | --capability C",
		Short: "Open a breaker: its messages are refused until it is reset",
		Long: "Open a breaker until it is reset. Messages from outside are refused with BREAKER_OPEN, those of agents become\n" +
			"dead letters after three attempts; what was accepted before is still worked off. It does not ask.",
		Example: "  caxton circuit-breaker activate --all\n  caxton circuit-breaker activate --agent processor-5 --reason \"floods the rest\"",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := scope.into(cmd, &in); err != nil {
				return err
			}
			if in.Scope == "" {
				return &usageError{text: "--all, --agent, --node or --capability is needed", next: "see: caxton circuit-breaker activate --help"}
			}
			return a.orderBreaker(cmd.Context(), in)
		},
	}
	scope.flags(cmd)
	cmd.Flags().StringVar(&in.Reason, "reason", "", "why, for the record")
	return cmd
}

func (a *app) breakerResetCommand() *cobra.Command {
	var (
		scope breakerScope
		over  time.Duration
		in    = caxtonhttp.BreakerOrder{Action: "reset"}
	)
	cmd := &cobra.Command{
		Use:   "reset",
		Short: "Close a breaker, or all of them, at once or gradually",
		Long: "Close a breaker, or every one that is not closed. With --gradual a share of the messages is let through that\n" +
			"rises from none to all over --duration; should failures come back, the breaker opens again.",
		Example: "  caxton circuit-breaker reset --gradual --duration 10m\n  caxton circuit-breaker reset --agent processor-5",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := scope.into(cmd, &in); err != nil {
				return err
			}
			if cmd.Flags().Changed("duration") && !in.Gradual {
				return usagef("--duration goes with --gradual")
			}
			if over < actors.MinReset || over > actors.MaxReset {
				return usagef("--duration must be %s to %s, not %s", actors.MinReset, actors.MaxReset, over)
			}
			if in.Gradual {
				in.Duration = over.String()
			}
			return a.orderBreaker(cmd.Context(), in)
		},
	}
	scope.flags(cmd)
	cmd.Flags().BoolVar(&in.Gradual, "gradual", false, "let a rising share of messages through")
	cmd.Flags().DurationVar(&over, "duration", 10*time.Minute, "until all are let through, with --gradual")
	return cmd
}

func (a *app) orderBreaker(ctx context.Context, in caxtonhttp.BreakerOrder) error {
	c, err := a.server()
	if err != nil {
		return err
	}
	list, err := c.OrderBreaker(ctx, in)
	if err != nil {
		return err
	}
	return a.showBreakers(list)
}

func (a *app) showBreakers(list []caxtonhttp.Breaker) error {
	for _, b := range list {
		if b.Warning != "" {
			a.note("warning: %s %s: %s", b.Kind, oneLine(b.Name), oneLine(b.Warning))
		}
	}
	if done, err := a.structured(list); done {
		return err
	}
	rows := make([][]string, len(list))
	for i, b := range list {
		scope := string(b.Kind)
		if b.Name != "" {
			scope += " " + oneLine(b.Name)
		}
		since := "-"
		if b.Since != nil {
			since = age(a.now().Sub(*b.Since)) + " ago"
		}
		rows[i] = []string{scope, a.status(string(b.State)), since, strconv.FormatFloat(b.Admitted, 'f', -1, 64) + "%", why(b)}
	}
	a.grid([]string{"SCOPE", "STATE", "SINCE", "ADMITTED", "WHY"}, rows)
	return nil
}

// why is what opened a breaker. An operator's that says how many failed was open again
// for that, after a gradual reset had begun.
func why(b caxtonhttp.Breaker) string {
	operator := "operator"
	if b.Reason != "" {
		operator += ": " + oneLine(b.Reason)
	}
	switch {
	case b.Forced && b.Of > 0:
		return fmt.Sprintf("%d of %d failed in a gradual reset; %s", b.Failures, b.Of, operator)
	case b.Forced:
		return operator
	case b.Storm != nil:
		return fmt.Sprintf("storm: %d failures come of message %s", b.Failures, b.Storm.Message)
	case b.Of > 0:
		return fmt.Sprintf("%d of %d failed", b.Failures, b.Of)
	}
	return "-"
}
