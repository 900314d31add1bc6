package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/events/pebblestore"
)

// largestStreams is how many streams "log stat" names.
const largestStreams = 5

func (a *app) logCommand() *cobra.Command {
	cmd := a.noun("log", "Examine a data directory, with the server stopped", nil, "caxton log verify --deep --data-dir /var/lib/caxton")
	cmd.AddCommand(a.logVerifyCommand(), a.logStatCommand())
	return cmd
}

// dataDirFlag adds the flag that both commands have.
func dataDirFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "data-dir", "", "directory of the log (default node.data_dir of the configuration: ./caxton-data)")
}

// logDir is the directory to look at: the flag's, and without it the one that a server
// with the same file and environment opens, so that nobody is told that some other log
// is sound. A configuration with faults is not in the way of the flag.
func (a *app) logDir(flag string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	cfg, err := serveOptions{configFile: a.config}.configuration()
	if err != nil {
		return "", err // it names the key, the value and the bound
	}
	return cfg.Node.DataDir, nil
}

// openLog opens the log in a data directory, to look at it; path is where it lies.
func (a *app) openLog(dir string) (s *pebblestore.Store, path string, err error) {
	opts := a.stoppedLog()
	opts.ReadOnly = true
	if path, err = logPath(dir); err != nil {
		return nil, "", err
	}
	s, err = pebblestore.Open(path, opts)
	switch {
	case errors.Is(err, pebblestore.ErrInUse):
		return nil, "", &failure{text: fmt.Sprintf("%s is in use by a running server", dir), next: "stop the server, or examine a copy of the directory"}
	case path != dir && errors.Is(err, fs.ErrNotExist):
		return nil, "", &failure{text: fmt.Sprintf("%s holds a member of a cluster, and its log is missing: %s", dir, path), next: "start the server: it makes the log again, or says why it cannot"}
	case errors.Is(err, pebblestore.ErrNoLog), errors.Is(err, fs.ErrNotExist):
		return nil, "", &failure{exit: exitNotFound, text: fmt.Sprintf("%s holds no log", dir), next: "name the server's data directory with --data-dir"}
	}
	return s, path, err
}

// stoppedLog are the options for the log of a server that is stopped. What ends the engine
// is told and ends the program: its logger tells warnings only.
func (a *app) stoppedLog() pebblestore.Options {
	opts := pebblestore.DefaultOptions()
	opts.Logger = slog.New(warnings{a})
	opts.Fatal = func(why string) {
		err := &failure{text: why}
		a.complain(err)
		a.exit(exitCode(err))
	}
	return opts
}

// warnings notes what the engine warns of: a small file beside the log that does not
// read is no fault of the log, and who looks at it should know. What is worse a command
// finds and tells itself.
type warnings struct{ a *app }

// Enabled implements slog.Handler.
func (w warnings) Enabled(_ context.Context, level slog.Level) bool { return level == slog.LevelWarn }

// Handle implements slog.Handler.
func (w warnings) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(at slog.Attr) bool {
		text += fmt.Sprintf(", %s %s", at.Key, at.Value)
		return true
	})
	w.a.note("warning: %s", oneLine(text))
	return nil
}

// WithAttrs implements slog.Handler.
func (w warnings) WithAttrs([]slog.Attr) slog.Handler { return w }

// WithGroup implements slog.Handler.
func (w warnings) WithGroup(string) slog.Handler { return w }

// verified is the structured form of what "log verify" found.
type verified struct {
	DataDir   string   `json:"data_dir"`
	Deep      bool     `json:"deep"`
	Events    uint64   `json:"events"` // that were read
	Scavenged uint64   `json:"scavenged"`
	Streams   uint64   `json:"streams,omitempty"` // with --deep
	Next      uint64   `json:"next_position"`
	Root      string   `json:"root"`
	Faults    []string `json:"faults"`
	Isolated  string   `json:"isolated,omitempty"` // why, unless it was cleared
	ElapsedMS int64    `json:"elapsed_ms"`

	Replicated *replicated `json:"replicated,omitempty"` // of a group
}

// maxFaultsTold bounds what is printed of a log that is broken all over.
const maxFaultsTold = 100

func (a *app) logVerifyCommand() *cobra.Command {
	var dir string
	var deep, lift bool
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check that a log is whole and says what it always said",
		Long: "Check that a log is whole and says what it always said. Nothing is changed.\n\n" +
			"Without --deep it reads the end of the log: the records since the last stored root.\n" +
			"With --deep it reads every record, recomputes every root and compares all indexes both ways.\n" +
			"Of a replicated log it reads all records either way, and the tables of snapshots with --deep.\n\n" +
			"A log whose disk failed is isolated: servers open it read-only. When a deep verification finds\n" +
			"no fault, --clear-isolated lets it take writes again.",
		Example: "  caxton log verify\n  caxton log verify --deep --data-dir /var/lib/caxton",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if lift && !deep {
				return usagef("--clear-isolated needs --deep: a log that failed is trusted again only when all of it was read")
			}
			dir, err := a.logDir(dir)
			if err != nil {
				return err
			}
			return a.verifyLog(cmd.Context(), dir, deep, lift)
		},
	}
	dataDirFlag(cmd, &dir)
	cmd.Flags().BoolVar(&deep, "deep", false, "read everything")
	cmd.Flags().BoolVar(&lift, "clear-isolated", false, "if no fault is found, let an isolated log take writes again")
	return cmd
}

func (a *app) verifyLog(ctx context.Context, dir string, deep, lift bool) error {
	start := a.now()
	s, path, err := a.openLog(dir)
	if err != nil {
		return err
	}
	out := verified{DataDir: dir, Deep: deep, Faults: []string{}}
	found := 0
	report := func(fault error) {
		if found++; found <= maxFaultsTold {
			out.Faults = append(out.Faults, fault.Error())
			a.note("fault: %s", oneLine(fault.Error()))
		}
	}
	var v pebblestore.Verified
	if deep {
		p := progress{a: a, what: "verifying " + dir, started: start}
		v, err = s.Verify(ctx, report, p.tell)
		p.end()
	} else {
		v, err = s.VerifyEnd(ctx, report)
	}
	if err == nil {
		out.Replicated, err = a.examineGroup(ctx, dir, s, deep, report)
	}
	if err = errors.Join(err, s.Close()); err != nil {
		return fmt.Errorf("verify %s: %w", dir, err)
	}
	why, isolated, err := pebblestore.Isolated(path)
	if err != nil {
		return err
	}
	if isolated && lift && found == 0 {
		if err := pebblestore.ClearIsolation(path); err != nil {
			return fmt.Errorf("clear the isolation of %s: %w", dir, err)
		}
		a.note("%s takes writes again from the next start on", dir)
		isolated = false
	}
	if isolated {
		out.Isolated = first(oneLine(why), "for a reason that could not be written down")
	}
	out.Events, out.Scavenged, out.Streams = v.Events, v.Scavenged, v.Streams
	out.Next, out.Root, out.ElapsedMS = uint64(v.Root.Next), fmt.Sprintf("%x", v.Root.Hash), a.now().Sub(start).Milliseconds()
	return a.tellVerified(out, found)
}

func (a *app) tellVerified(out verified, found int) error {
	done, err := a.structured(out)
	if err != nil {
		return err
	}
	if !done {
		a.printf("Directory:  %s\nPosition:   %d\nRoot:       %s\nRead:       %s, %d of them scavenged\n", oneLine(out.DataDir), out.Next, out.Root, count(out.Events, "event"), out.Scavenged)
		if out.Deep {
			a.printf("Streams:    %d\n", out.Streams)
		}
		a.tellReplicated(out.Replicated)
		if out.Isolated != "" {
			a.printf("Isolated:   %s\n", out.Isolated)
		}
	}
	switch {
	case found > 0:
		return &failure{text: count(found, "fault") + " found", next: "restore the directory from a backup, and keep the broken one for the search"}
	case done:
	case !out.Deep:
		a.printf("The end of the log is sound; --deep reads all of it.\n")
	default:
		a.printf("The log is sound.\n")
	}
	if out.Isolated != "" && !done {
		a.printf("Servers open it read-only; caxton log verify --deep --clear-isolated ends that.\n")
	}
	return nil
}

// census is the structured form of "log stat".
type census struct {
	DataDir    string              `json:"data_dir"`
	Events     uint64              `json:"events"`
	Streams    uint64              `json:"streams"`
	First      *time.Time          `json:"first_recorded,omitempty"`
	Last       *time.Time          `json:"last_recorded,omitempty"`
	Next       uint64              `json:"next_position"`
	Root       string              `json:"root"`
	DiskBytes  uint64              `json:"disk_bytes"`
	Trimmed    *trimmed            `json:"trimmed,omitempty"`
	Categories []pebblestore.Count `json:"categories"`
	Types      []pebblestore.Count `json:"types"`
	Largest    []pebblestore.Count `json:"largest_streams"`
	Replicated *replicated         `json:"replicated,omitempty"` // of a group
}

// trimmed is what events.retention let go: of the agents whose events can be read.
type trimmed struct {
	Agents uint64 `json:"agents"`
	Events uint64 `json:"events"`
}

// trimmedIn sums the newest HistoryTrimmed of each agent; it is nil without one.
func trimmedIn(ctx context.Context, s events.Store) (*trimmed, error) {
	before := make(map[events.Stream]events.Revision)
	filter := events.Filter{Types: []events.Type{events.HistoryTrimmed{}.EventType()}}
	for rec, err := range s.ReadAll(ctx, events.ReadAllOptions{Filter: filter}) {
		if err != nil {
			return nil, err
		}
		p, err := events.Decode(rec.Event)
		if err != nil {
			return nil, err
		}
		if e, ok := p.(events.HistoryTrimmed); ok {
			before[rec.Stream] = max(before[rec.Stream], e.Before)
		}
	}
	if len(before) == 0 {
		return nil, nil
	}
	sum := &trimmed{Agents: uint64(len(before))}
	for _, n := range before {
		sum.Events += uint64(n)
	}
	return sum, nil
}

func (a *app) logStatCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:     "stat",
		Short:   "Count what a log holds",
		Example: "  caxton log stat --data-dir /var/lib/caxton\n  caxton log stat -o json",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := a.logDir(dir)
			if err != nil {
				return err
			}
			return a.statLog(cmd.Context(), dir)
		},
	}
	dataDirFlag(cmd, &dir)
	return cmd
}

func (a *app) statLog(ctx context.Context, dir string) error {
	s, _, err := a.openLog(dir)
	if err != nil {
		return err
	}
	c, err := s.Census(ctx, largestStreams)
	gone, unread := trimmedIn(ctx, s)
	if unread != nil { // the indexes were counted all the same
		unread = fmt.Errorf("count what was trimmed in %s: %w", dir, unread)
	}
	group, broken := a.examineGroup(ctx, dir, s, false, func(fault error) { unread = errors.Join(unread, fault) })
	unread = errors.Join(unread, broken)
	root, disk := s.Root(), s.Stats().DiskBytes
	if err = errors.Join(err, s.Close()); err != nil {
		return fmt.Errorf("count %s: %w", dir, err)
	}
	out := census{
		DataDir: dir,
		Events:  c.Events, Streams: c.Streams, Next: uint64(root.Next), Root: fmt.Sprintf("%x", root.Hash), DiskBytes: disk, Trimmed: gone, Replicated: group,
		Categories: c.Categories, Types: c.Types, Largest: c.Largest,
	}
	if c.Events > 0 {
		out.First, out.Last = &c.First, &c.Last
	}
	if done, err := a.structured(out); done {
		return errors.Join(err, unread)
	}
	a.printf("Directory:  %s\nEvents:     %d\nStreams:    %d\nOn disk:    %s\nRoot:       %s\n", oneLine(dir), out.Events, out.Streams, bytesOf(disk), out.Root)
	if out.First != nil {
		a.printf("Recorded:   %s to %s\n", c.First.Format(time.RFC3339), c.Last.Format(time.RFC3339))
	}
	if gone != nil {
		a.printf("Trimmed:    %s of %s\n", count(gone.Events, "event"), count(gone.Agents, "agent"))
	}
	a.tellReplicated(group)
	for _, part := range []struct {
		name   string
		counts []pebblestore.Count
	}{{"CATEGORY", c.Categories}, {"TYPE", c.Types}, {"LARGEST STREAM", c.Largest}} {
		if len(part.counts) == 0 {
			continue
		}
		rows := make([][]string, len(part.counts))
		for i, n := range part.counts {
			rows[i] = []string{oneLine(n.Name), fmt.Sprint(n.Events)}
		}
		a.printf("\n")
		a.grid([]string{part.name, "EVENTS"}, rows)
	}
	return unread
}

// progressEvery is how often a piped command tells how far it is.
const progressEvery = 10 * time.Second

// progress tells how far long work is: on a terminal in one line that is written
// again and again, elsewhere in lines of their own, now and then.
type progress struct {
	a       *app
	what    string
	started time.Time
	told    time.Time
	open    bool // a line on the terminal is not ended
}

func (p *progress) tell(done, total uint64) {
	now, every := p.a.now(), progressEvery
	terminal := isTerminal(p.a.stderr)
	if terminal {
		every = 200 * time.Millisecond
	}
	if p.told.IsZero() {
		p.told = p.started
	}
	if now.Sub(p.told) < every || total == 0 {
		return
	}
	p.told = now
	text := fmt.Sprintf("%s: %d %% after %s", p.what, done*100/total, age(now.Sub(p.started)))
	if terminal {
		_, _ = fmt.Fprintf(p.a.stderr, "\r%s\x1b[K", text)
		p.open = true
		return
	}
	p.a.note("%s", text)
}

func (p *progress) end() {
	if p.open {
		p.a.note("")
	}
}
