package events

import (
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
// before: all of them were sends.
func upcastMessageDeadLettered(from int, data []byte) ([]byte, error) {
	if from != 1 {
		return nil, noStep(from)
	}
	return data, nil
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
