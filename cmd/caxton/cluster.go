package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	caxtonhttp "github.com/caxton-run/caxton/http"
)

func (a *app) clusterCommand() *cobra.Command {
	cmd := a.noun("cluster", "Look at the nodes", nil, "caxton cluster status")
	cmd.AddCommand(a.clusterStatusCommand(), a.membersCommand(), a.performanceCommand(), a.recoverCommand())
	return cmd
}

func (a *app) clusterStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "status",
		Short:   "Show how the cluster stands; exits 5 when it is degraded",
		Example: "  caxton cluster status",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.server()
			if err != nil {
				return err
			}
			s, err := c.ClusterStatus(cmd.Context())
			if err != nil {
				return err
			}
			done, err := a.structured(s)
			if err != nil {
				return err
			}
			if !done {
				a.printf("Status: %s (%s)\n", s.Status, s.Detail)
				a.printf("Operations: %s\n", s.Operations)
				a.printf("Nodes: %d/%d active\n", s.NodesActive, s.NodesTotal)
				a.printf("Queued writes: %d\n", s.QueuedWrites)
			}
			if s.Status != caxtonhttp.StatusHealthy {
				return &failure{exit: exitUnreachable, text: "the cluster is " + s.Status + ": " + s.Detail}
			}
			return nil
		},
	}
}

func (a *app) membersCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "members",
		Short:   "List the nodes",
		Example: "  caxton cluster members\n  caxton cluster members -o wide",
		Args:    exactly(),
		RunE: listed(a, (*caxtonhttp.Client).Members, func(list []caxtonhttp.Member) {
			header := []string{"NODE-ID", "STATUS", "LAST-SEEN", "AGENTS"}
			if a.output == "wide" {
				header = append(header, "ADDRESS", "CPU", "MEMORY", "VERSION", "ROLE")
			}
			rows := make([][]string, len(list))
			for i, m := range list {
				seen := age(time.Duration(m.LastSeenMS)*time.Millisecond) + " ago"
				rows[i] = []string{string(m.ID), m.Status, seen, fmt.Sprint(m.Agents)}
				if a.output == "wide" {
					rows[i] = append(rows[i], m.Address, percent(m.CPUPercent), sizeOf(m.MemoryBytes), m.Version, m.Role)
				}
			}
			a.grid(header, rows)
		}),
	}
}

func (a *app) performanceCommand() *cobra.Command {
	var window time.Duration
	cmd := &cobra.Command{
		Use:     "performance",
		Short:   "Compare what was measured of late with the targets",
		Example: "  caxton cluster performance\n  caxton cluster performance --window 30s",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if window <= 0 || window > caxtonhttp.MaxWindow {
				return usagef("--window must be above 0s and at most %s, not %s", caxtonhttp.MaxWindow, window)
			}
			c, err := a.server()
			if err != nil {
				return err
			}
			list, err := c.Performance(cmd.Context(), window)
			if err != nil {
				return err
			}
			if done, err := a.structured(list); done {
				return err
			}
			a.performanceTable(list)
			return nil
		},
	}
	cmd.Flags().DurationVar(&window, "window", caxtonhttp.MaxWindow, "how far back to look, in steps of 30s")
	return cmd
}

func (a *app) performanceTable(list []caxtonhttp.Measure) {
	rows := make([][]string, len(list))
	for i, m := range list {
		actual, status := "-", "-"
		if m.Status != caxtonhttp.MeasureNone {
			actual = brief(time.Duration(m.ActualUS) * time.Microsecond)
		}
		switch m.Status {
		case caxtonhttp.MeasureOK:
			status = "✓"
		case caxtonhttp.MeasureDegraded:
			status = "✗ DEGRADED"
		}
		rows[i] = []string{m.Metric, brief(time.Duration(m.TargetUS) * time.Microsecond), actual, status}
	}
	a.grid([]string{"METRIC", "TARGET", "ACTUAL", "STATUS"}, rows)
}
