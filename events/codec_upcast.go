package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// noStep is a version that a type's upcaster does not know: a step is missing.
func noStep(from int) error { return fmt.Errorf("no step leads to version %d", from+1) }

// upcastAgentFailed: 1 → 2 added crashes, window and outcome, which version 1 had
// in its reason's text alone.
func upcastAgentFailed(from int, data []byte) ([]byte, error) {
	if from != 1 {
		return nil, noStep(from)
	}
	var old struct {
		Reason string `json:"reason"`
	}
	if err := json.Unmarshal(data, &old); err != nil {
		return nil, err
	}
	next := struct {
		Reason   string `json:"reason"`
		Crashes  int    `json:"crashes,omitempty"`
		WindowMS int64  `json:"window_ms,omitempty"`
		Outcome  string `json:"outcome,omitempty"`
	}{Reason: old.Reason}
	next.Crashes, next.WindowMS, next.Outcome = parseFailReason(old.Reason)
	return json.Marshal(next)
}

// upcastMessageDeadLettered: 1 → 2 added the inbox revision, which no dead letter had
// before: all of them were sends. 2 → 3 is the step of upcastMessages. 3 → 4 let a key
// be used up by a discarded message, which none had been.
func upcastMessageDeadLettered(from int, data []byte) ([]byte, error) {
	switch from {
	case 1, 3:
		return data, nil
	case 2:
		return upcastMessages(1, data)
	}
	return nil, noStep(from)
}

// upcastRun: 1 → 2 is the step of upcastMessages; 2 → 3 let the host's record say how
// much content the guest could send, which was always as much as absence means; 3 → 4
// let it name the machine, which nobody knows of those before: absence is no bar to a
// replay.
func upcastRun(from int, data []byte) ([]byte, error) {
	switch from {
	case 1:
		return upcastMessages(from, data)
	case 2, 3:
		return data, nil
	}
	return nil, noStep(from)
}

// upcastAdded: 1 → 2 added fields whose absence says what holds of those before: which
// machine a migration ran on (AgentUpdated), the key of a restart (AgentRestarted), the
// storm that opened a breaker (BreakerOpened).
func upcastAdded(from int, data []byte) ([]byte, error) {
	if from != 1 {
		return nil, noStep(from)
	}
	return data, nil
}

// upcastAgentStormDetected: 1 → 2 names the ancestor, which nobody knows of those
// before: they were looked for by conversation, and had one.
func upcastAgentStormDetected(from int, data []byte) ([]byte, error) {
	if from != 1 {
		return nil, noStep(from)
	}
	var event map[string]json.RawMessage
	if err := json.Unmarshal(data, &event); err != nil {
		return nil, err
	}
	if id, ok := event["conversation_id"]; ok {
		event["conversations"] = append(append([]byte("["), id...), ']')
		delete(event, "conversation_id")
	}
	return marshalPlain(event)
}

// upcastMessages: 1 → 2 gave each priority a sequence of its own, where there had
// been one for a pair of agents, and let content stand in a blob. A send of before
// that has another priority than normal is in the sequence that is now normal's.
func upcastMessages(from int, data []byte) ([]byte, error) {
	if from != 1 {
		return nil, noStep(from)
	}
	if !bytes.Contains(data, []byte(`"sequence":`)) || !bytes.Contains(data, []byte(`"priority":`)) {
		return data, nil // most of them
	}
	var event map[string]json.RawMessage
	if err := json.Unmarshal(data, &event); err != nil {
		return nil, err
	}
	for _, name := range []string{"message", "reply"} {
		if err := oldSequence(event, name); err != nil {
			return nil, err
		}
	}
	if raw, ok := event["sends"]; ok {
		var sends []json.RawMessage
		if err := json.Unmarshal(raw, &sends); err != nil {
			return nil, err
		}
		for i := range sends {
			one := map[string]json.RawMessage{"m": sends[i]}
			if err := oldSequence(one, "m"); err != nil {
				return nil, err
			}
			sends[i] = one["m"]
		}
		var err error
		if event["sends"], err = marshalPlain(sends); err != nil {
			return nil, err
		}
	}
	return marshalPlain(event)
}

// oldSequence marks the message under a name as one of normal's sequence, if it
// needs it.
func oldSequence(in map[string]json.RawMessage, name string) error {
	raw, ok := in[name]
	if !ok {
		return nil
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil || m == nil {
		return err
	}
	switch string(m["priority"]) {
	case "", `""`, `"normal"`:
		return nil
	}
	if n := string(m["sequence"]); n == "" || n == "0" {
		return nil
	}
	m["sequence_class"] = json.RawMessage(`"normal"`)
	var err error
	in[name], err = marshalPlain(m)
	return err
}

// marshalPlain is json.Marshal without escapes that JSON does not ask for: a
// message's content keeps its bytes.
func marshalPlain(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// parseFailReason reads the one text that version 1 of AgentFailed was written
// with, e.g. "10 crashes within 1m0s, the last: Timeout"; zeros for any other.
func parseFailReason(text string) (crashes int, windowMS int64, outcome string) {
	count, rest, _ := strings.Cut(text, " crashes within ")
	span, outcome, _ := strings.Cut(rest, ", the last: ")
	n, errCount := strconv.Atoi(count)
	window, errSpan := time.ParseDuration(span)
	if errCount != nil || errSpan != nil || n < 1 || window < time.Millisecond {
		return 0, 0, ""
	}
	switch outcome {
	case "Timeout", "Killed", "HostFault": // all that version 1 could end with
	default:
		return 0, 0, ""
	}
	if fmt.Sprintf("%d crashes within %s, the last: %s", n, window, outcome) != text {
		return 0, 0, "" // it only looks like that text
	}
	return n, window.Milliseconds(), outcome
}
