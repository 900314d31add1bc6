package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	caxtonhttp "github.com/caxton-run/caxton/http"
)

// structured prints v when -o asks for JSON or YAML, and reports whether it did.
func (a *app) structured(v any) (bool, error) {
	switch a.output {
	case "json":
		enc := json.NewEncoder(a.stdout)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return true, enc.Encode(v)
	case "yaml":
		return true, writeYAML(a.stdout, v)
	}
	return false, nil
}

// writeYAML prints v with the names and the order of its JSON form, so that
// the two outputs never differ in more than syntax.
func writeYAML(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil { // JSON is YAML
		return err
	}
	blockStyle(&doc)
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(&doc); err != nil {
		return err
	}
	return enc.Close()
}

// blockStyle undoes the braces and quotes that the JSON brought along; the
// encoder quotes again where it must.
func blockStyle(n *yaml.Node) {
	empty := len(n.Content) == 0 && n.Kind != yaml.ScalarNode
	if !empty {
		n.Style = 0
	}
	for _, c := range n.Content {
		blockStyle(c)
	}
}

// grid prints a table without borders, as kubectl does.
func (a *app) grid(header []string, rows [][]string) {
	t := table.NewWriter()
	t.SetStyle(table.Style{
		Box:     table.BoxStyle{PaddingRight: "   "},
		Options: table.OptionsNoBordersAndSeparators,
	})
	t.AppendHeader(cells(header))
	for _, r := range rows {
		t.AppendRow(cells(r))
	}
	for line := range strings.Lines(t.Render()) {
		a.printf("%s\n", strings.TrimRight(line, " \n"))
	}
}

func cells(values []string) table.Row {
	row := make(table.Row, len(values))
	for i, v := range values {
		row[i] = v
	}
	return row
}

// printf writes to stdout. A reader that went away is not an error of ours.
func (a *app) printf(format string, args ...any) { _, _ = fmt.Fprintf(a.stdout, format, args...) }

// note writes a line to stderr, beside the output.
func (a *app) note(format string, args ...any) { _, _ = fmt.Fprintf(a.stderr, format+"\n", args...) }

// status colours an agent's status on a terminal.
func (a *app) status(s string) string {
	if a.noColor || a.getenv("NO_COLOR") != "" || !isTerminal(a.stdout) {
		return s
	}
	switch s {
	case "running", checkOK:
		return text.FgGreen.Sprint(s)
	case "failed", "stopped", checkFail:
		return text.FgRed.Sprint(s)
	}
	return text.FgYellow.Sprint(s)
}

// isTerminal reports whether somebody sits at the other end of a stream.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// listed runs a command that gets a list from the server and shows it: as -o json
// or yaml has it, or else by show.
func listed[T any](a *app, get func(*caxtonhttp.Client, context.Context) ([]T, error), show func([]T)) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		c, err := a.server()
		if err != nil {
			return err
		}
		list, err := get(c, cmd.Context())
		if err != nil {
			return err
		}
		if done, err := a.structured(list); done {
			return err
		}
		show(list)
		return nil
	}
}

// count is a number of things: 1 agent, 2 agents.
func count[N int | uint64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// age is a duration in two units at most: 45s, 3m12s, 5h2m, 12d4h.
func age(d time.Duration) string {
	d = max(d, 0)
	day := 24 * time.Hour
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < day:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%dh", int(d/day), int(d%day/time.Hour))
}

// bytesOf prints a size in the largest binary unit of which it has one,
// rounded to a tenth.
func bytesOf(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0") + units[i]
}
