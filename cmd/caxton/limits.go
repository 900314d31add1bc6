package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/internal/config"
)

// limitFlags is what the flags that bound one agent say. A limit that is not
// given is 0: somebody's default.
type limitFlags struct {
	maxMemory string
	maxFuel   uint64
	maxTime   time.Duration
}

// add adds the flags; whose says whose defaults they have.
func (l *limitFlags) add(cmd *cobra.Command, whose string) {
	f := cmd.Flags()
	f.StringVar(&l.maxMemory, "max-memory", "", "linear memory, such as 64MiB (default "+whose+")")
	f.Uint64Var(&l.maxFuel, "max-fuel", 0, "instructions per message (default "+whose+")")
	f.DurationVar(&l.maxTime, "max-time", 0, "per message, such as 5s (default "+whose+")")
}

// resources checks the flags. A limit that was given must be greater than 0: 0
// would otherwise silently mean the default.
func (l *limitFlags) resources(given func(string) bool) (events.ResourceLimits, error) {
	var r events.ResourceLimits
	if given("max-memory") {
		n, err := config.ParseBytes(l.maxMemory)
		if err != nil {
			return r, usagef("--max-memory %s", err)
		}
		r.MaxMemoryBytes = uint64(n)
	}
	if given("max-time") && l.maxTime%time.Millisecond != 0 {
		return r, usagef("--max-time must be whole milliseconds, not %s", l.maxTime)
	}
	r.MaxFuel = events.Fuel(l.maxFuel)
	r.MaxExecutionTimeMS = uint64(max(l.maxTime, 0).Milliseconds())
	for _, x := range []struct {
		flag string
		v    uint64
	}{{"max-memory", r.MaxMemoryBytes}, {"max-fuel", l.maxFuel}, {"max-time", r.MaxExecutionTimeMS}} {
		if given(x.flag) && x.v == 0 {
			return r, usagef("--%s must be greater than 0", x.flag)
		}
	}
	return r, nil
}

// here is resources with the defaults of a server that is told nothing, for what
// runs without one.
func (l *limitFlags) here(given func(string) bool) (events.ResourceLimits, error) {
	r, err := l.resources(given)
	if err != nil {
		return r, err
	}
	d := events.DefaultLimits()
	if r.MaxMemoryBytes == 0 {
		r.MaxMemoryBytes = d.MaxMemoryBytes
	}
	if r.MaxFuel == 0 {
		r.MaxFuel = d.MaxFuel
	}
	if r.MaxExecutionTimeMS == 0 {
		r.MaxExecutionTimeMS = d.MaxExecutionTimeMS
	}
	return r, r.Validate(events.LimitCeilings())
}
