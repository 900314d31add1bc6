package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
)

// neighbour is what an agent that never yields does to the others.
type neighbour struct {
	Rate   float64 `json:"rate_per_second"`
	Alone  load    `json:"alone"`
	Beside load    `json:"beside"`
	Spins  int64   `json:"spins"` // messages that ran to the spinning agent's limit meanwhile

	SpinFuel events.Fuel `json:"spin_fuel"` // what those used: what it did, not what it could have done
}

// spun says what the spinning agent did meanwhile: without it the others' figures say
// nothing.
func (n neighbour) spun() string {
	return fmt.Sprintf("it spun %d times to its limit, %d million instructions", n.Spins, n.SpinFuel/1e6)
}

// ratio is how much longer the slowest hundredth waits.
func (n neighbour) ratio() float64 { return float64(n.Beside.P99) / float64(n.Alone.P99) }

// spinGuest loops for ever at any message.
const spinGuest = "spin"

// measureNeighbour measures the last rate again, and once more while one agent spins
// to its limits, message after message.
func (a *app) measureNeighbour(ctx context.Context, o benchOptions, n *benchNode, send sendFunc) (out neighbour, err error) {
	out.Rate = o.rates[len(o.rates)-1]
	a.note("%g messages a second, beside an agent that spins", out.Rate)
	id, err := n.deploySpinner(ctx)
	if err != nil {
		return out, err
	}
	if out.Alone, err = openLoop(ctx, o.connections, out.Rate, o.duration, send); err != nil {
		return out, err
	}
	var spinning sync.WaitGroup
	var spinErr error
	during, stop := context.WithCancel(ctx)
	spinning.Go(func() { out.Spins, out.SpinFuel, spinErr = n.spin(during, id) })
	out.Beside, err = openLoop(ctx, o.connections, out.Rate, o.duration, send)
	stop()
	spinning.Wait()
	_, gone := n.system.Gateway().Remove(ctx, actors.Command{Caller: benchCaller, Agent: id})
	return out, errors.Join(err, spinErr, gone)
}

// deploySpinner makes an agent that loops for ever, with the fuel that agents have when
// nothing is said, which is gone in a fraction of a second. What ends it has to be that: a
// message that runs out of time is tried again, and is not done with for seconds.
func (b *benchNode) deploySpinner(ctx context.Context) (events.AgentID, error) {
	cases := fixtures.Hostile()
	i := slices.IndexFunc(cases, func(c fixtures.HostileCase) bool { return c.Name == spinGuest })
	limits := events.DefaultLimits()
	limits.MaxExecutionTimeMS = events.LimitCeilings().MaxExecutionTimeMS
	d, err := b.system.Gateway().Deploy(ctx, actors.DeployRequest{
		Caller: benchCaller, Name: "spinner", Wasm: cases[i].Wasm, Limits: limits,
	})
	return d.ID, err
}

// spin keeps the agent looping until ctx ends, and returns how often it was stopped at
// its limit, and how far it had come.
func (b *benchNode) spin(ctx context.Context, id events.AgentID) (spins int64, fuel events.Fuel, err error) {
	var last events.Position
	for ctx.Err() == nil {
		sent, err := b.system.Gateway().Send(ctx, actors.SendRequest{
			Caller: benchCaller, To: id, Wait: actors.MaxWait,
			Message: events.Message{Performative: events.Request, Content: json.RawMessage(benchContent)},
		})
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, events.ErrBreakerOpen): // it has failed often enough for that
			reset := actors.BreakerRequest{Caller: benchCaller, Scope: events.AgentScope(id)}
			_, err = b.system.Gateway().OrderBreaker(ctx, reset)
		case err == nil && sent.Status == actors.Failed:
			spins, last = spins+1, sent.Position
		case err == nil:
			err = fmt.Errorf("a message to the agent that spins was %s, not %s", sent.Status, actors.Failed)
		}
		if err != nil && ctx.Err() == nil {
			return spins, fuel, err
		}
	}
	if err := b.runner.WaitFor(context.WithoutCancel(ctx), last); err != nil {
		return spins, fuel, err
	}
	view, _ := b.agents.Get(id)
	return spins, view.FuelUsed, nil
}
