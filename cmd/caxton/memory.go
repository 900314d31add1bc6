package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	caxtonhttp "github.com/caxton-run/caxton/http"
)

func (a *app) memoryCommand() *cobra.Command {
	cmd := a.noun("memory", "Look at memory, and have it given back", nil, "caxton memory stats")
	cmd.AddCommand(a.memoryStatsCommand(), a.memoryCollectCommand())
	return cmd
}

func (a *app) memoryStatsCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "stats",
		Short:   "Show each node's memory and its limit",
		Example: "  caxton memory stats\n  caxton memory stats -o wide",
		Args:    exactly(),
		RunE: listed(a, (*caxtonhttp.Client).Memory, func(list []caxtonhttp.NodeMemory) {
			header := []string{"NODE", "USED", "LIMIT", "AGENTS"}
			if a.output == "wide" {
				header = append(header, "AWAKE", "GUESTS")
			}
			rows := make([][]string, len(list))
			for i, m := range list {
				rows[i] = []string{string(m.Node), sizeOf(m.UsedBytes), sizeOf(m.LimitBytes), fmt.Sprint(m.Agents)}
				if a.output == "wide" {
					rows[i] = append(rows[i], fmt.Sprint(m.Awake), sizeOf(uint64(max(m.GuestBytes, 0))))
				}
			}
			a.grid(header, rows)
		}),
	}
}

func (a *app) memoryCollectCommand() *cobra.Command {
	var aggressive bool
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Have each node give back memory that it does not need",
		Long: "Have each node give back memory that it does not need. With --aggressive, agents without messages hibernate\n" +
			"at once and compiled code that no agent uses is dropped: nothing is lost, and the next message wakes them.",
		Example: "  caxton memory gc --aggressive",
		Args:    exactly(),
		RunE: listed(a, func(c *caxtonhttp.Client, ctx context.Context) ([]caxtonhttp.MemoryCollected, error) {
			return c.CollectMemory(ctx, aggressive)
		}, func(list []caxtonhttp.MemoryCollected) {
			for _, m := range list {
				a.printf("%s: freed %s, %s used; %s hibernated, %s dropped\n", m.Node, sizeOf(uint64(max(m.FreedBytes, 0))),
					sizeOf(m.UsedBytes), count(m.Hibernated, "agent"), count(m.Modules, "compiled module"))
			}
		}),
	}
	cmd.Flags().BoolVar(&aggressive, "aggressive", false, "also hibernate idle agents and drop unused compiled code")
	return cmd
}

func (a *app) resourcesCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "resources",
		Short:   "Show what each node uses of its machine",
		Example: "  caxton resources",
		Args:    exactly(),
		RunE: listed(a, (*caxtonhttp.Client).Resources, func(list []caxtonhttp.NodeResources) {
			rows := make([][]string, len(list))
			for i, r := range list {
				rows[i] = []string{string(r.Node), percent(r.CPUPercent), sizeOf(r.MemoryBytes), fmt.Sprint(r.Agents)}
			}
			a.grid([]string{"NODE", "CPU", "MEMORY", "AGENTS"}, rows)
		}),
	}
}

func (a *app) slowCommand() *cobra.Command {
	var threshold time.Duration
	cmd := &cobra.Command{
		Use:   "slow",
		Short: "List agents whose messages take long",
		Long: "List agents whose messages take long, from their mailbox until they are durable, in the mean or in the 99th\n" +
			"percentile of the last 5 to 10 minutes; the slowest first.",
		Example: "  caxton agents slow --threshold 100ms",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if threshold < 0 || threshold > time.Hour {
				return usagef("--threshold must be 0s to %s, not %s", time.Hour, threshold)
			}
			c, err := a.server()
			if err != nil {
				return err
			}
			list, err := c.SlowAgents(cmd.Context(), threshold)
			if err != nil {
				return err
			}
			if done, err := a.structured(list); done {
				return err
			}
			a.slowTable(list)
			return nil
		},
	}
	cmd.Flags().DurationVar(&threshold, "threshold", caxtonhttp.SlowThreshold, "what is slow, at most 1h")
	return cmd
}

func (a *app) slowTable(list []caxtonhttp.SlowAgent) {
	rows := make([][]string, len(list))
	for i, s := range list {
		rows[i] = []string{s.Ref, brief(time.Duration(s.MeanUS) * time.Microsecond), brief(time.Duration(s.P99US) * time.Microsecond)}
	}
	a.grid([]string{"AGENT-ID", "AVG-LATENCY", "P99-LATENCY"}, rows)
}

// sizeOf prints memory in decimal units, to a tenth: 15.2GB.
func sizeOf(n uint64) string {
	units := []string{"B", "KB", "MB", "GB", "TB"}
	v, i := float64(n), 0
	for v >= 999.95 && i < len(units)-1 {
		v, i = v/1000, i+1
	}
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0") + units[i]
}

func percent(v float64) string { return strconv.FormatFloat(v, 'f', 0, 64) + "%" }
