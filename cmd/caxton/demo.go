package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/fixtures"
	caxtonhttp "github.com/caxton-run/caxton/http"
	"github.com/caxton-run/caxton/projections"
)

// demoAgents are deployed by --demo, once: a second start finds them by name.
func demoAgents() []demoAgent {
	return []demoAgent{
		{"counter", "counter-go", "Go"},
		{"kv", "kv", "Rust"},
		{"echo", "echo", "C"},
		{"ping", "ping", "AssemblyScript"},
		{"pong", "pong", "Rust"},
	}
}

type demoAgent struct{ name, fixture, language string }

// demoRounds of ping and pong: enough to see them talk.
const demoRounds = 3

// demoPatience is how long a game of ping-pong may take.
const demoPatience = 30 * time.Second

// tour is one run of the demo: a client of the node it runs in.
type tour struct {
	client *caxtonhttp.Client
	url    string
	out    io.Writer
}

// demo shows a node at work, through its REST API as anyone would use it. It
// then waits for ctx, because a stage that ends ends the node; what goes wrong
// is told and is no reason to stop serving.
func demo(ctx context.Context, ready <-chan struct{}, addr net.Addr, out io.Writer) error {
	select {
	case <-ready:
	case <-ctx.Done():
		return nil
	}
	url := "http://" + addr.String()
	client, err := caxtonhttp.NewClient(caxtonhttp.ClientOptions{URL: url, Timeout: demoPatience})
	if err != nil {
		return err
	}
	defer client.Close()
	t := tour{client, url, out}
	if err := t.run(ctx); err != nil && ctx.Err() == nil {
		t.say("\nThe demo ended early: %s\nThe server goes on.\n", err)
	}
	<-ctx.Done()
	return nil
}

func (t tour) say(format string, args ...any) { _, _ = fmt.Fprintf(t.out, format, args...) }

func (t tour) run(ctx context.Context) error {
	t.say("\nAgents\n")
	for _, a := range demoAgents() {
		if err := t.deploy(ctx, a); err != nil {
			return err
		}
	}
	t.say("\nA conversation\n")
	for _, m := range []struct{ to, content string }{
		{"counter", `{"op":"add","n":3}`},
		{"counter", `{"op":"add","n":4}`},
		{"kv", `{"op":"put","key":"greeting","value":"hello"}`},
		{"kv", `{"op":"get","key":"greeting"}`},
		{"echo", `{"text":"is anyone there?"}`},
	} {
		if _, err := t.ask(ctx, m.to, m.content); err != nil {
			return err
		}
	}
	if err := t.play(ctx); err != nil {
		return err
	}
	if err := t.history(ctx, "ping"); err != nil {
		return err
	}
	t.say(`
Where to look next (caxton is "go run ./cmd/caxton" where it is not built)
  caxton agent list
  caxton message send --to counter --content '{"op":"add","n":1}' --wait 5s
  caxton agent events counter
  curl %[1]s/api/v1/agents
Kill this process in any way and start it again: the counter goes on where it was.
`, t.url)
	return nil
}

func (t tour) deploy(ctx context.Context, a demoAgent) error {
	view, err := t.client.Agent(ctx, a.name)
	verb := "found"
	var problem *caxtonhttp.ProblemError
	if errors.As(err, &problem) && problem.Code == caxtonhttp.CodeAgentNotFound {
		verb = "deployed"
		view, err = t.client.Deploy(ctx, caxtonhttp.Deployment{
			Name: a.name, UniqueName: true, Wasm: fixtures.Agent(a.fixture), Labels: events.Labels{"demo": "true"},
		})
	}
	if err != nil {
		return fmt.Errorf("deploy %s: %w", a.name, err)
	}
	t.say("  %-9s %-8s %s  (%s, %s)\n", verb, a.name, view.ID, a.language, bytesOf(uint64(view.ModuleSize)))
	return nil
}

// ask sends a request, waits for its reply and prints both.
func (t tour) ask(ctx context.Context, to, content string) (json.RawMessage, error) {
	t.say("  you -> %s: %s\n", to, content)
	r, err := t.client.Send(ctx, to, caxtonhttp.Outgoing{Content: json.RawMessage(content), Wait: demoPatience})
	if err != nil {
		return nil, fmt.Errorf("message to %s: %w", to, err)
	}
	if r.Reply == nil {
		t.say("  %s: %s\n", to, r.Status)
		return nil, nil
	}
	t.say("  %s -> you: %s %s\n", to, r.Reply.Performative, r.Reply.Content)
	return r.Reply.Content, nil
}

// play lets ping and pong talk to one another and waits until they are done.
func (t tour) play(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	peer, err := t.client.Agent(ctx, "pong")
	if err != nil {
		return err
	}
	if _, err := t.ask(ctx, "ping", fmt.Sprintf(`{"op":"start","peer":%q,"rounds":%d}`, peer.ID, demoRounds)); err != nil {
		return err
	}
	for {
		r, err := t.client.Send(ctx, "ping", caxtonhttp.Outgoing{Content: json.RawMessage(`{"op":"score"}`), Wait: demoPatience})
		if err != nil {
			return fmt.Errorf("score of ping: %w", err)
		}
		var score struct{ Done bool }
		if r.Reply != nil && json.Unmarshal(r.Reply.Content, &score) == nil && score.Done {
			t.say("  ping -> you: %s %s\n", r.Reply.Performative, r.Reply.Content)
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("ping and pong did not end their game within %s", demoPatience)
		}
	}
}

// historyLines of an agent's events are shown.
const historyLines = 12

// history prints the newest events of an agent, oldest first.
func (t tour) history(ctx context.Context, name string) error {
	page, _, err := t.client.Events(ctx, name, caxtonhttp.EventQuery{Limit: historyLines, Direction: events.Backwards})
	if err != nil {
		return err
	}
	view, err := t.client.Agent(ctx, name)
	if err != nil {
		return err
	}
	t.say("\nWhat the log says of %s (%s)\n", name, summary(view))
	for i := len(page) - 1; i >= 0; i-- {
		e := page[i]
		t.say("  %4d  %s  %s\n", e.Revision, e.RecordedAt.Local().Format("15:04:05.000"), describeEvent(e))
	}
	return nil
}

func summary(v projections.AgentView) string {
	return fmt.Sprintf("%d messages handled, %d failed, %d fuel", v.MessagesHandled, v.MessagesFailed, v.FuelUsed)
}

// describeEvent makes a line of an event: its type, and of a message what went
// in and out.
func describeEvent(e caxtonhttp.StoredEvent) string {
	var h struct {
		Message events.Message   `json:"message"`
		Reply   *events.Message  `json:"reply"`
		Sends   []events.Message `json:"sends"`
	}
	if json.Unmarshal(e.Data, &h) != nil || h.Message.ID == (events.MessageID{}) {
		return string(e.Type)
	}
	parts := []string{fmt.Sprintf("%s %s %s", e.Type, h.Message.Performative, h.Message.Content)}
	if h.Reply != nil {
		parts = append(parts, fmt.Sprintf("replied %s", h.Reply.Content))
	}
	for _, s := range h.Sends {
		parts = append(parts, fmt.Sprintf("sent %s %s", s.Performative, s.Content))
	}
	return strings.Join(parts, "; ")
}
