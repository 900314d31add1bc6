package http

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/caxton-run/caxton/events"
)

// FuzzDecodeDeploy: no body makes the decoder panic, and one that is accepted
// keeps every limit.
func FuzzDecodeDeploy(f *testing.F) {
	for _, rows := range badBodies() {
		for _, row := range rows {
			f.Add([]byte(row.body))
		}
	}
	f.Add([]byte(`{"name":"a","wasm_module":"AGFzbQEAAAA=","resource_limits":{"max_fuel":1},"labels":{"k":"v"},"priority":"low","unique_name":true}`))
	cfg := DefaultConfig()
	f.Fuzz(func(t *testing.T, body []byte) {
		if checkJSON(body) != nil {
			return
		}
		req, err := cfg.decodeDeploy(body)
		if err != nil {
			wantClientError(t, err)
			return
		}
		if name, err := events.CleanName(req.Name); err != nil || name != req.Name {
			t.Errorf("name %q accepted: %v", req.Name, err)
		}
		if err := req.Limits.Validate(cfg.Ceilings); err != nil {
			t.Error(err)
		}
		if len(req.Wasm) == 0 || len(req.Wasm) > cfg.MaxModuleBytes {
			t.Errorf("module of %d bytes accepted", len(req.Wasm))
		}
		if err := req.Labels.Validate(); err != nil {
			t.Error(err)
		}
	})
}

// FuzzDecodeMessage: an accepted message is valid, says nothing that only
// caxton may say, and can be written into an event.
func FuzzDecodeMessage(f *testing.F) {
	for _, rows := range badBodies() {
		for _, row := range rows {
			f.Add([]byte(row.body))
		}
	}
	f.Add([]byte(`{"performative":"QUERY-IF","content":{"a":[1,null]},"reply_by":"2026-01-02T03:04:05Z"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if checkJSON(body) != nil {
			return
		}
		if m, err := decodeMessage(body, true, events.MaxMessageContent); err == nil && m.Receiver == "" {
			t.Error("a message for nobody was accepted")
		}
		msg, err := decodeMessage(body, false, events.MaxMessageContent)
		if err != nil {
			wantClientError(t, err)
			return
		}
		if err := msg.Validate(); err != nil {
			t.Error(err)
		}
		if msg.Sender != "" || msg.Receiver != "" || msg.Hops != 0 || msg.Sequence != 0 || !msg.ID.IsZero() {
			t.Errorf("an outsider chose %+v", msg)
		}
		if _, err := json.Marshal(msg); err != nil {
			t.Error(err)
		}
	})
}

// FuzzDecodeReason: an accepted reason is short.
func FuzzDecodeReason(f *testing.F) {
	f.Add([]byte(`{"reason":"too slow"}`))
	f.Add([]byte(`{}`))
	f.Add([]byte(``))
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > 0 && checkJSON(body) != nil {
			return
		}
		reason, err := decodeReason(body)
		if err != nil {
			wantClientError(t, err)
		} else if len(reason) > maxReason {
			t.Errorf("a reason of %d bytes accepted", len(reason))
		}
	})
}

// FuzzHostname: a name that is ours is ours with any port, and nothing else is.
func FuzzHostname(f *testing.F) {
	for _, s := range []string{"localhost:80", "[::1]:80", "::1", "[", "a:b:c", "localhost.", "localhost:80:80", "localhost@evil"} {
		f.Add(s)
	}
	s := &Server{cfg: DefaultConfig()}
	f.Fuzz(func(t *testing.T, host string) {
		if name := hostname(host); s.answersTo(host) != s.answersTo(name) && hostname(name) == name {
			t.Errorf("%q and its name %q are told apart", host, name)
		}
	})
}

func wantClientError(t *testing.T, err error) {
	t.Helper()
	var invalid *events.InvalidError
	if k := classify(err); k.status < 400 || k.status > 499 {
		t.Errorf("%v becomes %d", err, k.status)
	}
	if errors.As(err, &invalid) && len(invalid.Fields) == 0 {
		t.Error("a refusal without a reason")
	}
}
