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

// neighbourTurns is in how many parts each of the two measurements is made, in turns: a
// disk or a machine that is slower for some seconds is so for both.
const neighbourTurns = 8

// measureNeighbour measures the last rate again, and while one agent spins to its limits,
// message after message: a turn without it, a turn with it, and so on.
func (a *app) measureNeighbour(ctx context.Context, o benchOptions, n *benchNode, send sendFunc) (out neighbour, err error) {
	out.Rate = o.rates[len(o.rates)-1]
	a.note("%g messages a second, beside an agent that spins", out.Rate)
	id, err := n.deploySpinner(ctx)
	if err != nil {
		return out, err
	}
	alone, beside := newTally(), newTally()
	turn := func(t *tally) error {
		return t.drive(ctx, o.connections, atRate(ctx, o.connections, out.Rate, o.duration/neighbourTurns, send))
	}
	for range neighbourTurns {
		if err := turn(alone); err != nil {
			return out, err
		}
		spins, err := n.whileSpinning(ctx, id, func() error { return turn(beside) })
		if err != nil {
			return out, err
		}
		out.Spins += spins
	}
	out.Alone, out.Beside = alone.load(), beside.load()
	view, _ := n.agents.Get(id)
	out.SpinFuel = view.FuelUsed
	_, err = n.system.Gateway().Remove(ctx, actors.Command{Caller: benchCaller, Agent: id})
	return out, err
}

// whileSpinning runs do while the agent loops, and returns, when it has come to rest, how
// often it was stopped at its limit.
func (b *benchNode) whileSpinning(ctx context.Context, id events.AgentID, do func() error) (spins int64, err error) {
	var spinning sync.WaitGroup
	var spinErr error
	during, stop := context.WithCancel(ctx)
	spinning.Go(func() { spins, spinErr = b.spin(ctx, id, func() bool { return during.Err() == nil }) })
	err = do()
	stop()
	spinning.Wait()
	return spins, errors.Join(err, spinErr)
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

// spin keeps the agent looping, one message after the other, as long as more says so, and
// returns how often it was stopped at its limit, once the projections have that.
func (b *benchNode) spin(ctx context.Context, id events.AgentID, more func() bool) (spins int64, err error) {
	var last events.Position
	for more() {
		sent, err := b.system.Gateway().Send(ctx, actors.SendRequest{
			Caller: benchCaller, To: id, Wait: actors.MaxWait,
			Message: events.Message{Performative: events.Request, Content: json.RawMessage(benchContent)},
		})
		switch {
		case errors.Is(err, events.ErrBreakerOpen): // it has failed often enough for that
			reset := actors.BreakerRequest{Caller: benchCaller, Scope: events.AgentScope(id)}
			_, err = b.system.Gateway().OrderBreaker(ctx, reset)
		case err == nil && sent.Status == actors.Failed:
			spins, last = spins+1, sent.Position
		case err == nil:
			err = fmt.Errorf("a message to the agent that spins was %s, not %s", sent.Status, actors.Failed)
		}
		if err != nil {
			return spins, err
		}
	}
	return spins, b.runner.WaitFor(ctx, last)
}
