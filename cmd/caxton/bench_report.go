package main

import (
	"fmt"
	"time"
)

// printReport writes what was measured as tables.
func (a *app) printReport(r report) {
	ratio := func(l load) string { return fmt.Sprintf("%.1fx the sync floor", l.PerSecond/r.FloorPerSec) }
	row := func(what string, l load, beside string) []string {
		return []string{what, fmt.Sprintf("%.0f/s", l.PerSecond), fmt.Sprint(l.Messages), short(l.P50), short(l.P99), short(l.Max), beside}
	}
	a.printf("caxton %s on %s: %d agents, %d senders\n", r.Version, r.Machine, r.Agents, r.Connections)
	a.printf("sync floor: %.0f records of 300 B per second, one writer, each synced\n\n", r.FloorPerSec)
	rows := [][]string{
		row("in process", r.InProcess, ratio(r.InProcess)),
		row("over HTTP", r.HTTP, ratio(r.HTTP)),
	}
	for _, s := range r.Steady {
		rows = append(rows, row(fmt.Sprintf("over HTTP at %g/s", s.Rate), s.load, "latency from when a message was due"))
	}
	nb := r.Neighbour
	rows = append(rows,
		row(fmt.Sprintf("over HTTP at %g/s, again", nb.Rate), nb.Alone, fmt.Sprintf("in %d turns with the next", neighbourTurns)),
		row("beside an agent that spins", nb.Beside, fmt.Sprintf("p99 %.1fx; %s", nb.ratio(), nb.spun())),
		row(fmt.Sprintf("echo of %d agents, a caller each", echoAgents), r.Echo, ratio(r.Echo)),
		[]string{"  Golem's, as it publishes it", fmt.Sprintf("~%d/s", golemEchoPerSecond), "", short(golemEchoP50), "", "",
			fmt.Sprintf("of %d agents on %s: another machine, not measured here", echoAgents, golemEchoMachine)})
	a.grid([]string{"durable messages", "rate", "messages", "p50", "p99", "max", ""}, rows)
	a.printf("\nrouting, from the gateway to the mailbox: p50 %s, p99 %s\n", short(r.RoutingP50), short(r.RoutingP99))
	if r.IdleAgents > 0 {
		a.printf("%d idle agents: %s resident, serving %s after a restart\n", r.IdleAgents, bytesOf(r.IdleResident), short(r.IdleRestart))
		a.printf("a message that wakes its agent: p50 %s, p99 %s, of %d\n", short(r.Wakes.P50), short(r.Wakes.P99), r.Wakes.Messages)
	}
}

// short is a duration in three digits.
func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}
