package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
	caxtonhttp "github.com/caxton-run/caxton/http"
	"github.com/caxton-run/caxton/internal/config"
)

// benchNode is a node that runs in this process to be measured.
type benchNode struct {
	*node
	url  string
	stop context.CancelFunc
	done chan error // receives what the stages came to, once
}

// benchCaller is who asks for what is measured.
var benchCaller = actors.Caller{Principal: "user:benchmark"}

// startBenchNode opens a node on dir and serves on a free port. It returns when
// the node is ready. End it with shut.
func startBenchNode(ctx context.Context, dir string) (*benchNode, error) {
	cfg := config.Default()
	cfg.Node.DataDir = dir
	cfg.Breaker.ConsecutiveFailures, cfg.Breaker.FailurePercent = 1000, 100 // one agent is to fail again and again
	n, err := openNode(ctx, cfg, slog.New(slog.DiscardHandler), false)
	if err != nil {
		return nil, err
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	own, stop := context.WithCancel(ctx)
	b := &benchNode{node: n, url: "http://" + ln.Addr().String(), stop: stop, done: make(chan error, 1)}
	go func() {
		b.done <- runStages(own, []stage{
			{"projections", n.runner.Run},
			{"agents", n.system.Run},
			{"REST API", func(ctx context.Context) error { return n.api.Serve(ctx, ln) }},
		})
	}()
	select {
	case <-n.runner.Ready():
		return b, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ctx.Err(), b.shut(ctx))
	}
}

// shut stops the node and closes its log.
func (b *benchNode) shut(ctx context.Context) error {
	b.stop()
	if err := <-b.done; err != nil {
		return err
	}
	return b.close(ctx)
}

// benchGuest is what the measured agents run: small, so that what is measured is
// caxton.
const benchGuest = "counter-c"

// deployMany deploys n agents with the same module, from some callers at a time
// as an operator's scripts would.
func (b *benchNode) deployMany(ctx context.Context, guest string, n int) ([]events.AgentID, error) {
	ids := make([]events.AgentID, n)
	const callers = 32
	gateway, wasm := b.system.Gateway(), fixtures.Agent(guest)
	_, err := drive(ctx, callers, func(id int, w *worker) {
		for i := id; i < n; i += callers {
			start := time.Now()
			d, err := gateway.Deploy(ctx, actors.DeployRequest{
				Caller: benchCaller, Name: fmt.Sprintf("bench-%d", i),
				Wasm: wasm, Limits: events.DefaultLimits(),
			})
			if err != nil {
				w.err = err
				return
			}
			ids[i] = d.ID
			w.record(time.Since(start))
		}
	})
	return ids, err
}

const benchContent = `{"op":"add","n":1}`

// inProcess sends through the gateway, without HTTP.
func (b *benchNode) inProcess(ids []events.AgentID, workers int) sendFunc {
	gateway := b.system.Gateway()
	return func(ctx context.Context, worker int, i int64) error {
		sent, err := gateway.Send(ctx, actors.SendRequest{
			Caller:  benchCaller,
			To:      pick(ids, worker, workers, i),
			Message: events.Message{Performative: events.Request, Content: json.RawMessage(benchContent)},
			Wait:    time.Minute,
		})
		if err == nil && sent.Status != actors.Handled {
			return fmt.Errorf("a message was %s, not %s", sent.Status, actors.Handled)
		}
		return err
	}
}

// overHTTP sends through the REST API, one connection a worker.
func overHTTP(client *caxtonhttp.Client, ids []events.AgentID, workers int, content json.RawMessage) sendFunc {
	return func(ctx context.Context, worker int, i int64) error {
		r, err := client.Send(ctx, pick(ids, worker, workers, i).String(), caxtonhttp.Outgoing{
			Content: content, Wait: time.Minute,
		})
		if err == nil && r.Status != actors.Handled {
			return fmt.Errorf("a message was %s, not %s", r.Status, actors.Handled)
		}
		return err
	}
}

// pick gives each worker agents of its own while there are enough, so that no
// agent is asked by two at once.
func pick(ids []events.AgentID, worker, workers int, i int64) events.AgentID {
	return ids[(int64(worker)+i*int64(workers))%int64(len(ids))]
}
