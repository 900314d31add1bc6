package main

import (
	"fmt"
	"strings"

	"github.com/caxton-run/caxton/events"
)

// tellChecked prints a report as a list of its fields.
func (a *app) tellChecked(c *checked, limits events.ResourceLimits) {
	line := func(name, format string, args ...any) {
		if name != "" {
			name += ":"
		}
		a.printf("%-11s %s\n", name, oneLine(fmt.Sprintf(format, args...)))
	}
	line("Module", "%s", c.Module)
	size := bytesOf(uint64(c.Size))
	if c.MeteredSize > 0 {
		size += ", " + bytesOf(uint64(c.MeteredSize)) + " after metering"
	}
	line("Size", "%s", size)
	line("Functions", "%d", c.Functions)
	if m := c.Memory; m != nil {
		text := bytesOf(m.Declared) + " declared"
		if m.Started > 0 {
			text += ", " + bytesOf(m.Started) + " once started"
		}
		line("Memory", "%s, at most %s", text, bytesOf(min(m.Limit, m.Maximum)))
	} else {
		line("Memory", "none")
	}
	list := func(name string, items []string) {
		if len(items) == 0 {
			line(name, "none")
		}
		for i, item := range items {
			if i > 0 {
				name = ""
			}
			line(name, "%s", item)
		}
	}
	list("Imports", c.Imports)
	list("Exports", c.Exports)
	line("Handler", "%s", map[bool]string{true: "caxton_handle", false: "none: every message is answered with not_understood"}[c.Handler])
	if c.Snapshotable {
		line("Snapshots", "yes")
	} else {
		line("Snapshots", "no, rebuilt by replay: %s", strings.Join(c.ReplayOnly, ", "))
	}
	a.tellSamples(line, c, limits)
	for _, w := range c.Warnings {
		line("Warning", "%s", w)
	}
	if c.Admitted {
		a.printf("A server with default settings admits it.\n")
	}
}

func (a *app) tellSamples(line func(name, format string, args ...any), c *checked, limits events.ResourceLimits) {
	if len(c.Samples) == 0 || !c.Handler {
		return
	}
	s := c.Samples[0]
	outcome := string(s.Outcome)
	if s.Detail != "" {
		outcome += ": " + s.Detail
	}
	line("Sample", "%s", contentText(s.Content, s.ContentBase64))
	line("Outcome", "%s", outcome)
	if s.Outcome == events.OutcomeRefused {
		line("", "give it a message that it takes with --message")
	}
	if s.Answer != nil {
		line("Answer", "%s %s", s.Answer.Performative, contentText(s.Answer.Content, s.Answer.ContentBase64))
	}
	line("Fuel", "%d for the first such message, %d for the next, of %d", s.Fuel, c.Samples[1].Fuel, limits.MaxFuel)
}
