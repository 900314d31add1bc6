package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/internal/config"
	"github.com/caxton-run/caxton/wasmhost"
	"github.com/caxton-run/caxton/wasmhost/meter"
)

// checkFlags is what the flags of "agent check" say.
type checkFlags struct {
	message string
	limits  limitFlags
}

func (a *app) checkCommand() *cobra.Command {
	var in checkFlags
	cmd := &cobra.Command{
		Use:        "check FILE",
		SuggestFor: []string{"validate", "inspect", "lint"},
		Short:      "Say what a server would make of a module, without one",
		Long: "Say what a server would make of a module, without one: whether it is admitted, what it imports, how large\n" +
			"it is, and the fuel that a message takes. The message is given twice, because the first one often pays\n" +
			"for what is made once.\n\n" +
			contentHelp + "\n\n" +
			"Exits 1 when a server would refuse the module, and names the rule.",
		Example: "  caxton agent check counter.wasm\n" +
			"  caxton agent check counter.wasm --message '{\"op\":\"add\",\"n\":5}' -o json",
		Args: exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			m := events.Message{Performative: events.Request, ConversationID: "trial"}
			var err error
			if m.Content, m.ContentBase64, err = a.content("message", in.message); err != nil {
				return err
			}
			limits, err := in.limits.here(cmd.Flags().Changed)
			if err != nil {
				return err
			}
			wasm, err := a.readModule(args[0])
			if err != nil {
				return err
			}
			return a.checkModule(cmd.Context(), args[0], wasm, limits, m)
		},
	}
	cmd.Flags().StringVarP(&in.message, "message", "m", "{}", "what to say to it")
	in.limits.add(cmd, "a server's")
	return cmd
}

// checked is the structured form of "agent check".
type checked struct {
	File         string            `json:"file"`
	Module       events.ModuleHash `json:"module_sha256"`
	Admitted     bool              `json:"admitted"`
	Refused      *brokenRule       `json:"refused,omitempty"`
	Invalid      string            `json:"invalid,omitempty"`     // why it is no module at all
	StartError   string            `json:"start_error,omitempty"` // why it does not come to life
	Size         int               `json:"size"`
	MeteredSize  int               `json:"metered_size,omitempty"`
	MeterVersion int               `json:"meter"`
	Functions    int               `json:"functions"`
	Memory       *checkedMemory    `json:"memory,omitempty"` // absent when the module has none
	Imports      []string          `json:"imports"`
	Exports      []string          `json:"exports"`
	Handler      bool              `json:"handles_messages"`
	Snapshotable bool              `json:"snapshotable"`
	ReplayOnly   []string          `json:"replay_only,omitempty"` // why it is not snapshotable
	Warnings     []string          `json:"warnings"`
	Samples      []triedMessage    `json:"samples"`

	passed bool // the gate, so there is something to tell
}

// brokenRule is why a module is not admitted.
type brokenRule struct {
	Rule   string `json:"rule"`
	Detail string `json:"detail"`
}

// checkedMemory is linear memory, in bytes.
type checkedMemory struct {
	Declared uint64 `json:"declared"`     // when it begins
	Maximum  uint64 `json:"maximum"`      // what the module says; the agent's limit may be lower
	Started  uint64 `json:"once_started"` // after its initialisation
	Limit    uint64 `json:"limit"`        // the agent's
}

// checkModule tells all there is, whether or not the module is admitted.
func (a *app) checkModule(ctx context.Context, file string, wasm []byte, limits events.ResourceLimits, m events.Message) error {
	out := checked{
		File: file, Module: events.HashModule(wasm), Size: len(wasm), MeterVersion: meter.Version,
		Imports: []string{}, Exports: []string{}, Warnings: []string{}, Samples: []triedMessage{},
	}
	failed := a.examine(ctx, &out, wasm, limits, m)
	if failed != nil && !out.verdict(failed) {
		return failed // no fault of the module
	}
	out.Admitted = failed == nil
	done, err := a.structured(out)
	switch {
	case err != nil:
		return err
	case !done && out.passed:
		a.tellChecked(&out, limits)
	}
	if failed != nil {
		return refusal(file, failed)
	}
	return nil
}

// verdict notes an error that is the module's fault, and reports whether it is.
func (c *checked) verdict(err error) bool {
	var (
		refused *events.RefusedError
		start   *wasmhost.InitError
	)
	switch {
	case errors.As(err, &refused):
		c.Refused = &brokenRule{refused.Rule, refused.Detail}
	case errors.Is(err, events.ErrInvalidWasm):
		c.Invalid = err.Error()
	case errors.As(err, &start):
		c.StartError = fmt.Sprintf("%s: %s", start.Status, start.Detail)
	default:
		return false
	}
	return true
}

// examine fills in a report, as far as it gets.
func (a *app) examine(ctx context.Context, out *checked, wasm []byte, limits events.ResourceLimits, m events.Message) (err error) {
	caps := meter.DefaultCaps()
	caps.ModuleBytes = int(config.Default().Runtime.MaxModuleBytes)
	rep, err := meter.Check(wasm, caps)
	if err != nil {
		return err
	}
	out.describe(rep, limits)
	t, err := newTrial(ctx, "", wasm, limits, a.now)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.close(ctx)) }()
	_, metered, err := meter.Instrument(wasm, meter.Options{Caps: caps})
	if err != nil {
		return err
	}
	out.MeteredSize = metered.MeteredSize
	out.Warnings = append(out.Warnings, t.mod.Info().Warnings...)
	if err := t.start(ctx); err != nil {
		return err
	}
	if out.Memory != nil {
		out.Memory.Started = t.guest.MemoryBytes()
	}
	const samples = 2 // the first often pays for what is made once
	for range samples {
		r, err := t.tell(ctx, m)
		if err != nil {
			return err
		}
		out.Samples = append(out.Samples, describeRun(r))
	}
	return nil
}

// describe notes what the gate found.
func (c *checked) describe(rep meter.Report, limits events.ResourceLimits) {
	c.passed, c.Functions, c.Snapshotable = true, rep.Functions, rep.Snapshotable()
	for _, i := range rep.Imports {
		c.Imports = append(c.Imports, i.Module+"."+i.Name+" "+i.Signature)
	}
	for _, e := range rep.Exports {
		text := e.Name + " " + e.Kind
		if e.Signature != "" {
			text = e.Name + " " + e.Signature
		}
		c.Exports = append(c.Exports, text)
		c.Handler = c.Handler || e.Name == "caxton_handle"
	}
	if rep.HasMemory {
		const page = 64 << 10
		c.Memory = &checkedMemory{Declared: uint64(rep.MemoryMinPages) * page, Maximum: uint64(rep.MemoryMaxPages) * page, Limit: limits.MaxMemoryBytes}
	}
	for _, x := range []struct {
		is  bool
		why string
	}{{rep.TableMutated, "it changes tables"}, {rep.DropsSegments, "it drops segments"}, {rep.OpaqueGlobals, "it holds references or vectors in globals"}} {
		if x.is {
			c.ReplayOnly = append(c.ReplayOnly, x.why)
		}
	}
}
