package actors

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/projections"
)

// Dump is the state of all agents in files, enough to rebuild each without the log:
//
//	caxton-<time>/manifest.json       what this is, with the SHA-256 of agents.jsonl
//	caxton-<time>/agents.jsonl        a DumpLine a line
//	caxton-<time>/modules/<sha256>    modules as they were uploaded
type Dump struct {
	Dir    string `json:"dir"`
	Agents int    `json:"agents"`
	Bytes  int64  `json:"bytes"` // of all files but the manifest
}

// DumpLine is one line of agents.jsonl; exactly one of its fields is set. An agent is
// a line with Agent, and what belongs to it follows, up to the next: the parts of its
// newest snapshot in their order; its history since, or all of it if it has no
// snapshot; what was accepted for it and is not handled. So neither who writes a dump
// nor who reads it holds more than a line.
type DumpLine struct {
	Agent    *projections.AgentView `json:"agent,omitempty"`
	Snapshot []byte                 `json:"snapshot,omitempty"` // data of a SnapshotTaken event
	Event    *DumpedEvent           `json:"event,omitempty"`    // of agent-<uuid>
	Inbox    *DumpedEvent           `json:"inbox,omitempty"`    // of inbox-<uuid>
}

// DumpedEvent is an event as it stands in the log.
type DumpedEvent struct {
	ID       events.EventID  `json:"id"`
	Type     events.Type     `json:"type"`
	Revision events.Revision `json:"revision"`
	At       time.Time       `json:"recorded_at"`
	Metadata json.RawMessage `json:"metadata"`
	Data     json.RawMessage `json:"data"`
}

// dumpVersion is of the form of a dump. Version 1 had an agent with all that belongs
// to it in one line.
const dumpVersion = 2

// manifest says what a dump is. A dump without one was not finished.
type manifest struct {
	Version int             `json:"version"`
	Node    events.MemberID `json:"node"`
	At      time.Time       `json:"at"`
	Agents  int             `json:"agents"`
	Lines   int             `json:"lines"`
	SHA256  string          `json:"agents_sha256"`
}

// dump writes the state of all agents to a new directory below dir and returns when it
// is on disk. dir must lie in one of Config.DumpDirs: an os.Root keeps links and dots
// from leading out of it. Error: errLifted, when the stop ends meanwhile.
func (s *System) dump(ctx context.Context, stop *licence, dir string) (_ Dump, err error) {
	if err := s.emergency.dumping.begin(ctx); err != nil {
		return Dump{}, fmt.Errorf("dump to %s: another is being written: %w", dir, err)
	}
	defer s.emergency.dumping.end()
	root, rel, err := s.dumpRoot(dir)
	if err != nil {
		return Dump{}, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	at := s.deps.Now().UTC()
	own := filepath.Join(rel, "caxton-"+at.Format("20060102-150405.000000"))
	if err := root.MkdirAll(filepath.Join(own, "modules"), 0o700); err != nil {
		return Dump{}, fmt.Errorf("dump to %s: %w", dir, err)
	}
	d := dumper{sys: s, root: root, dir: own, known: make(map[events.ModuleHash]bool), stop: stop}
	if err := d.write(ctx, at); err != nil {
		return Dump{}, fmt.Errorf("dump to %s: %w", dir, err)
	}
	return Dump{Dir: filepath.Join(root.Name(), own), Agents: d.agents, Bytes: d.bytes}, nil
}

// dumpRoot opens the configured directory that dir lies in. It is made if need be: who
// configured it wants it.
func (s *System) dumpRoot(dir string) (*os.Root, string, error) {
	if !filepath.IsAbs(dir) {
		return nil, "", events.Invalidf("dump_to", "must be an absolute path on the server, got %q", dir)
	}
	for _, allowed := range s.cfg.DumpDirs {
		rel, err := filepath.Rel(allowed, filepath.Clean(dir))
		if err != nil || !filepath.IsLocal(rel) {
			continue
		}
		if err := os.MkdirAll(allowed, 0o700); err != nil {
			return nil, "", fmt.Errorf("dump to %s: %w", dir, err)
		}
		root, err := os.OpenRoot(allowed)
		return root, rel, err
	}
	return nil, "", events.Invalidf("dump_to", "must lie in a directory that security.dump_dirs lists (%s), got %q",
		strings.Join(s.cfg.DumpDirs, ", "), dir)
}

// dumper writes one dump.
type dumper struct {
	sys    *System
	root   *os.Root
	dir    string
	known  map[events.ModuleHash]bool // modules that are written
	stop   *licence                   // revoked by the stop that the dump is of
	agents int
	lines  int
	bytes  int64
}

func (d *dumper) write(ctx context.Context, at time.Time) error {
	if err := d.sys.caughtUp(ctx); err != nil { // with what was put into inboxes just now
		return err
	}
	sum := sha256.New()
	if err := d.file("agents.jsonl", func(w io.Writer) error { return d.all(ctx, io.MultiWriter(w, sum)) }); err != nil {
		return err
	}
	for hash := range d.known {
		wasm, err := events.LoadModule(ctx, d.sys.deps.Store, hash)
		if err != nil {
			return err
		}
		if err := d.file(filepath.Join("modules", string(hash)), func(w io.Writer) error { _, err := w.Write(wasm); return err }); err != nil {
			return err
		}
	}
	return d.manifest(at, sum)
}

func (d *dumper) manifest(at time.Time, sum hash.Hash) error {
	size := d.bytes
	err := d.file("manifest.json", func(w io.Writer) error {
		return json.NewEncoder(w).Encode(manifest{
			Version: dumpVersion, Node: d.sys.deps.Member, At: at, Agents: d.agents, Lines: d.lines,
			SHA256: hex.EncodeToString(sum.Sum(nil)),
		})
	})
	d.bytes = size
	for _, dir := range []string{filepath.Join(d.dir, "modules"), d.dir, filepath.Dir(d.dir)} {
		err = errors.Join(err, d.syncDir(dir))
	}
	return err
}

// dumpPage is how many agents' views are copied at a time.
const dumpPage = 256

// all writes all agents.
func (d *dumper) all(ctx context.Context, w io.Writer) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	for cursor := ""; ; {
		page, err := d.sys.deps.Agents.List(cursor, dumpPage)
		if err != nil {
			return err
		}
		for _, v := range page.Agents {
			if d.sys.licence.Load() != d.stop {
				return errLifted // agents run: what was read of them does not fit together
			}
			if err := d.agent(ctx, out, v); err != nil {
				return err
			}
		}
		if cursor = page.Next; cursor == "" {
			return nil
		}
	}
}

func (d *dumper) line(out *json.Encoder, l DumpLine) error {
	d.lines++
	return out.Encode(l)
}

// agent writes one agent, each of its events as it is read.
func (d *dumper) agent(ctx context.Context, out *json.Encoder, v projections.AgentView) error {
	d.known[v.Module] = true
	d.agents++
	if err := d.line(out, DumpLine{Agent: &v}); err != nil {
		return err
	}
	from, err := d.snapshot(ctx, out, v.ID)
	if err != nil {
		return err
	}
	if err := events.Removed(ctx, d.sys.deps.Store, v.ID, from); err != nil {
		return err // its snapshot does not read, and nothing else stands for what is gone
	}
	err = d.each(ctx, events.AgentStream(v.ID), events.ReadStreamOptions{From: from}, func(e *DumpedEvent) error {
		return d.line(out, DumpLine{Event: e})
	})
	if err != nil {
		return err
	}
	for _, rev := range d.sys.deps.Inboxes.Entries(v.ID) {
		err := d.each(ctx, events.InboxStream(v.ID), events.ReadStreamOptions{From: rev, Max: 1}, func(e *DumpedEvent) error {
			return d.line(out, DumpLine{Inbox: e})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// snapshot writes an agent's newest snapshot, if it has one, and returns where its
// history goes on from there.
func (d *dumper) snapshot(ctx context.Context, out *json.Encoder, id events.AgentID) (events.Revision, error) {
	data, st, err := d.sys.source.Newest(ctx, id)
	if err != nil || st == nil {
		return 0, err
	}
	for _, part := range data {
		if err := d.line(out, DumpLine{Snapshot: part}); err != nil {
			return 0, err
		}
	}
	return st.Revision + 1, nil
}

// each reads part of a stream; one that does not exist is empty.
func (d *dumper) each(ctx context.Context, s events.Stream, o events.ReadStreamOptions, do func(*DumpedEvent) error) error {
	for rec, err := range d.sys.deps.Store.ReadStream(ctx, s, o) {
		if errors.Is(err, events.ErrStreamNotFound) {
			return nil
		}
		if err == nil {
			err = do(&DumpedEvent{rec.Event.ID, rec.Event.Type, rec.Revision, rec.RecordedAt, rec.Event.Metadata, rec.Event.Data})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// file writes one file and returns when it is on disk.
func (d *dumper) file(name string, write func(io.Writer) error) error {
	f, err := d.root.OpenFile(filepath.Join(d.dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	err = write(w)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if info, e := f.Stat(); e == nil {
		d.bytes += info.Size()
	}
	return errors.Join(err, f.Close())
}

// syncDir makes a directory's entries durable.
func (d *dumper) syncDir(dir string) error {
	f, err := d.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
