package actors_test

import (
	"time"

	"pgregory.net/rapid"

	"github.com/caxton-run/caxton/events"
)

// drawBy draws a reply_by: seldom one.
func drawBy(t *rapid.T) string {
	after := rapid.SampledFrom([]time.Duration{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, time.Millisecond, 300 * time.Millisecond, 5 * time.Second, time.Minute}).Draw(t, "by")
	if after == 0 {
		return ""
	}
	return simBegin().Add(after).Format(time.RFC3339Nano)
}

// drawSay draws what a ledger is told; up to depth ledgers pass it on.
func drawSay(t *rapid.T, p *plan, depth int) *say {
	s := &say{Op: rapid.SampledFrom([]string{"", "", "", "", "", "", "trap", "refuse"}).Draw(t, "op")}
	if depth == 0 {
		return s
	}
	switch rapid.IntRange(0, 7).Draw(t, "shape") {
	case 0, 1, 2:
		s.To, s.Then = drawReceiver(t, p), drawSay(t, p, depth-1)
	case 3:
		s.To, s.Then = drawReceiver(t, p), drawSay(t, p, depth-1)
		s.Also, s.Other = drawReceiver(t, p), drawSay(t, p, depth-1)
	case 4:
		s.Us = rapid.SampledFrom([]int64{10_000, 200_000, 5_000_000}).Draw(t, "us")
		s.Later = drawSay(t, p, depth-1)
	case 5:
		s.Cancel = int64(rapid.IntRange(1, 3).Draw(t, "cancel"))
	}
	s.Can, s.Fat = drawSkill(t), drawFat(t)
	s.Ask = rapid.SampledFrom([]int{0, 1, 0, 1, 2}).Draw(t, "ask")
	s.Class = rapid.SampledFrom([]events.Priority{"", "", events.Low, events.Critical}).Draw(t, "class")
	s.By = drawBy(t)
	s.Talk = rapid.SampledFrom([]string{"", "", "", "elsewhere"}).Draw(t, "talk")
	return s
}

// drawFat draws letters to fill a message up with: seldom any.
func drawFat(t *rapid.T) int {
	if rapid.IntRange(0, 24).Draw(t, "fat") < 24 {
		return 0
	}
	return simFat
}

// drawSkill draws a capability for a ledger to register: seldom one.
func drawSkill(t *rapid.T) string {
	return rapid.SampledFrom([]string{"", "", "", "", "", "", "red", "blue"}).Draw(t, "can")
}

// drawReceiver draws whom a ledger passes something on to.
func drawReceiver(t *rapid.T, p *plan) string {
	if rapid.IntRange(0, 5).Draw(t, "by name") == 5 {
		return events.CapabilityPrefix + rapid.SampledFrom([]string{"red", "blue"}).Draw(t, "skill")
	}
	if p.mute && rapid.IntRange(0, 7).Draw(t, "mute") == 7 {
		return muteID().String()
	}
	return ledgerID(rapid.IntRange(0, p.ledgers-1).Draw(t, "to")).String()
}
