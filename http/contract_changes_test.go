package http

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
)

func TestUpdates(t *testing.T) {
	r := start(t, nil)
	ctx := context.Background()
	id := r.deploy(t, "a")
	limits := events.ResourceLimits{MaxFuel: 7}
	labels := events.Labels{"tier": "front=end"}
	want := actors.UpdateRequest{
		Command: actors.Command{Caller: actors.Caller{Principal: principal}, Agent: id, Reason: "why not"},
		Limits:  limits, Priority: events.Low, Labels: &labels,
	}
	for _, wasm := range [][]byte{nil, []byte(emptyWasm)} {
		want.Wasm = wasm
		ch := Changes{Wasm: wasm, Limits: limits, Priority: events.Low, Labels: labels, Reason: "why not"}
		if _, err := r.Update(ctx, "a", ch); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, r.node.update); diff != "" {
			t.Error(diff)
		}
		r.node.update = actors.UpdateRequest{}
		out, err := r.TryUpdate(ctx, "a", ch)
		if err != nil || !out.DryRun || out.Messages != 2 || out.Difference == nil || out.Difference.Now != "2" {
			t.Errorf("TryUpdate: %+v, %v", out, err)
		}
		if diff := cmp.Diff(want, r.node.update); diff != "" {
			t.Error(diff)
		}
	}
	got := exchange(t, r, "PUT", base+"/agents/a", `{"wasm_module":"AGFzbQEAAAA=","labels":{}}`, "Content-Type", typeJSON)
	if q := r.node.update; got.status != 200 || string(q.Wasm) != emptyWasm || q.Labels == nil || len(*q.Labels) != 0 || q.Priority != "" {
		t.Errorf("%d %s: %+v", got.status, got.body, q)
	}
}

func TestBulk(t *testing.T) {
	r := start(t, nil)
	r.deploy(t, "a")
	want := actors.BulkRequest{
		Caller: actors.Caller{Principal: principal}, Action: actors.ActionStop, Reason: "night", DryRun: true, Grace: 5 * time.Second,
		Filter: actors.Filter{Status: "running", Priority: events.Low, Labels: events.Labels{"team": "red"}},
	}
	out, err := r.Bulk(context.Background(), want)
	if err != nil || out.Matched != 3 || out.Failed != 1 || !out.DryRun || out.Agents[0].Error != "no" {
		t.Errorf("%+v, %v", out, err)
	}
	if diff := cmp.Diff(want, r.node.bulk); diff != "" {
		t.Error(diff)
	}
	got := post(t, r, base+"/agents/actions", `{"action":"resume","filter":{"all":true}}`)
	if q := r.node.bulk; got.status != 200 || !q.Filter.All || !q.Drain || q.Grace != DefaultGrace || got.header.Get(HeaderPosition) != "1" {
		t.Errorf("%d %s: %+v", got.status, got.body, q)
	}
}

func TestDeadLetters(t *testing.T) {
	r := start(t, nil)
	ctx := context.Background()
	page, err := r.Letters(ctx, "", 10)
	if err != nil || page.Total != 1 || page.Next != "" || len(page.Letters) != 1 || page.Letters[0].MessageID != messageSaid() || page.Letters[0].Reason != "AgentNotFound" {
		t.Errorf("%+v, %v", page, err)
	}
	view, err := r.Letter(ctx, messageSaid().String())
	if err != nil || view.Receiver != "nobody" || string(view.Message.Content) != "1" {
		t.Errorf("%+v, %v", view, err)
	}
	out, err := r.RetryLetter(ctx, messageSaid().String())
	if err != nil || out.RetryOf != messageSaid() || r.node.retried != messageSaid() || out.Status != actors.Queued {
		t.Errorf("%+v, %v", out, err)
	}
	_, err = r.Letter(ctx, events.NewMessageID().String())
	if p := problem(t, err); p.Code != CodeLetterNotFound || p.Status != 404 {
		t.Errorf("%+v", p)
	}
	for _, path := range []string{"/dead-letters/x", "/dead-letters?limit=0", "/dead-letters?cursor=!"} {
		wantProblem(t, get(t, r, base+path), http.StatusBadRequest, CodeInvalidRequest)
	}
}
