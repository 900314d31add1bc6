package wasmhost

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// codeNote is a note of the index as it stands there.
type codeNote struct {
	name string // of its file
	used time.Time
	codeEntry
}

// notes reads the index. What is no note is left alone.
func (c *codeCache) notes() (all []codeNote, err error) {
	entries, err := os.ReadDir(filepath.Join(c.iso.Dir, indexDir))
	if err != nil {
		return nil, err
	}
	for _, d := range entries {
		n := codeNote{name: filepath.Join(c.iso.Dir, indexDir, d.Name())}
		info, err := d.Info()
		if err != nil || !strings.HasSuffix(d.Name(), ".json") {
			continue
		}
		var ok bool
		if n.codeEntry, ok = readEntry(n.name); !ok {
			continue
		}
		n.used = info.ModTime()
		all = append(all, n)
	}
	return all, nil
}

// sweep removes code that no note will lead to: what another version of this program
// made, and what a process left that was killed between a file and its note. Nobody
// would count it, and it would stay for ever.
func (c *codeCache) sweep() error {
	all, err := c.notes()
	if err != nil {
		return err
	}
	noted := make(map[string]bool)
	for _, n := range all {
		if n.Tag == c.tag {
			noted[filepath.Clean(n.File)] = true
		} else if err := ignoreMissing(os.Remove(n.name)); err != nil {
			return err
		}
	}
	root := filepath.Join(c.iso.Dir, codeDir)
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		file, err := filepath.Rel(root, path)
		if err != nil || noted[file] {
			return err
		}
		return ignoreMissing(os.Remove(path))
	})
}

// makeRoom removes the code that was not used for longest until size bytes more
// fit, but for pinned code, which a build is about to read: with that it may be too
// much by what CompileSlots modules take. A module whose code goes stays in memory
// if it is there. The caller holds mu.
func (c *codeCache) makeRoom(size int64) error {
	all, err := c.notes()
	if err != nil {
		return err
	}
	total := size
	for _, n := range all {
		total += n.Size
	}
	pinned := make(map[string]bool) // by file: uploads that differ in what is not code share one
	for key := range c.pins {
		if e, ok := c.entry(key); ok {
			pinned[e.File] = true
		}
	}
	slices.SortFunc(all, func(a, b codeNote) int { return a.used.Compare(b.used) })
	for _, n := range all {
		if total <= c.iso.Cache {
			break
		}
		if pinned[n.File] {
			continue
		}
		if err := c.remove(n.name, n.codeEntry); err != nil {
			return err
		}
		total -= n.Size
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
