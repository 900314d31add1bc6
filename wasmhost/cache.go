package wasmhost

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/caxton-run/caxton/wasmhost/meter"
)

// codeCache is the compiled code on disk. Workers make it, this process maps it
// into memory and runs it; so the directory is this user's alone, and nothing in
// it is used that does not have the digest noted when it was made.
//
//	code/<engine>/<key>     the engine's own file of one module's code
//	index/<module>.json     which file that is, and its digest
//	work-*/                 where a worker leaves its code; removed after it
type codeCache struct {
	iso    Isolation
	engine wazero.CompilationCache
	tag    string // of the engine, meter and machine that the code is for

	mu   sync.Mutex        // held while files move in or out; guards pins
	pins map[moduleKey]int // builds between fill and find, by module: what they filled is not removed
}

// codeEntry is the index's note of one module.
type codeEntry struct {
	Tag    string `json:"tag"`
	File   string `json:"file"` // below code/
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

const (
	codeDir  = "code"
	indexDir = "index"
	workGlob = "work-*"
)

// openCodeCache makes the directory, or takes the one that is there and clears
// away what a killed process left in it.
func openCodeCache(iso Isolation) (*codeCache, error) {
	dir, err := filepath.Abs(iso.Dir)
	if err != nil {
		return nil, err
	}
	iso.Dir = dir
	for _, d := range []string{dir, filepath.Join(dir, codeDir), filepath.Join(dir, indexDir)} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
		if err := private(d); err != nil {
			return nil, err
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, workGlob))
	if err != nil {
		return nil, err
	}
	for _, d := range left {
		if err := os.RemoveAll(d); err != nil {
			return nil, err
		}
	}
	c := &codeCache{iso: iso, tag: codeTag(), pins: make(map[moduleKey]int)}
	if err := c.sweep(); err != nil {
		return nil, err
	}
	if c.engine, err = wazero.NewCompilationCacheWithDir(filepath.Join(dir, codeDir)); err != nil {
		return nil, err
	}
	return c, nil
}

// private refuses a directory that others may write to: they could plant code.
func private(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || info.Mode().Perm()&0o077 != 0 || (ok && int(st.Uid) != os.Geteuid()) {
		return fmt.Errorf("%s must be a directory of this user with mode 0700, is %s", dir, info.Mode())
	}
	return nil
}

// codeTag names all that compiled code depends on beside its module.
func codeTag() string {
	engine := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if dep.Path == "github.com/tetratelabs/wazero" {
				engine = dep.Version
			}
		}
	}
	return fmt.Sprintf("wazero %s, meter %d, layout %d, %s/%s", engine, meter.Version, layoutVersion, runtime.GOOS, runtime.GOARCH)
}

// fill sees to it that the engine finds the code of a module in its cache. A
// module that is not there is compiled by a worker. Errors are those of
// runWorker.
func (c *codeCache) fill(ctx context.Context, key moduleKey, wasm []byte, caps meter.Caps) error {
	if c.has(key) {
		return nil
	}
	dir, err := os.MkdirTemp(c.iso.Dir, workGlob)
	if err != nil {
		return fmt.Errorf("directory for the compiler: %w", err)
	}
	err = c.iso.runWorker(ctx, dir, wasm, translateOptions{caps, key.profiled})
	if err == nil {
		err = c.adopt(key, dir)
	}
	if e := os.RemoveAll(dir); err == nil && e != nil {
		err = fmt.Errorf("clear the compiler's directory: %w", e)
	}
	return err
}

func (c *codeCache) indexFile(key moduleKey) string {
	name := string(key.hash)
	if key.profiled {
		name += ".profiled"
	}
	return filepath.Join(c.iso.Dir, indexDir, name+".json")
}

// has reports whether a module's code is there and is what it was. Damaged code
// is removed.
func (c *codeCache) has(key moduleKey) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entry(key)
	if !ok || e.Tag != c.tag {
		return false
	}
	file := filepath.Join(c.iso.Dir, codeDir, e.File)
	sum, size, err := digest(file)
	if err != nil || sum != e.SHA256 || size != e.Size {
		_ = os.Remove(file) // what cannot be removed is refused again the next time
		return false
	}
	now := time.Now()
	_ = os.Chtimes(c.indexFile(key), now, now) // only says which was used last
	return true
}

// entry reads the note of a module. The caller holds mu.
func (c *codeCache) entry(key moduleKey) (e codeEntry, ok bool) {
	return readEntry(c.indexFile(key))
}

// readEntry reads a note; ok is false of what is none.
func readEntry(note string) (e codeEntry, ok bool) {
	b, err := os.ReadFile(note)
	if err != nil || json.Unmarshal(b, &e) != nil || !filepath.IsLocal(e.File) {
		return codeEntry{}, false
	}
	return e, true
}

// drop removes what the cache has of a module.
func (c *codeCache) drop(key moduleKey) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entry(key)
	if !ok {
		return nil
	}
	return c.remove(c.indexFile(key), e)
}

// remove takes a note and the code that it is of. The caller holds mu.
func (c *codeCache) remove(note string, e codeEntry) error {
	file := filepath.Join(c.iso.Dir, codeDir, e.File)
	return errors.Join(ignoreMissing(os.Remove(note)), ignoreMissing(os.Remove(file)))
}

// pin keeps makeRoom from a module's code until unpin.
func (c *codeCache) pin(key moduleKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pins[key]++
}

func (c *codeCache) unpin(key moduleKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pins[key]--; c.pins[key] == 0 {
		delete(c.pins, key)
	}
}

func digest(file string) (sum string, size int64, err error) {
	f, err := os.Open(file)
	if err != nil {
		return "", 0, err
	}
	h := sha256.New()
	size, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), size, errors.Join(err, f.Close())
}

// adopt moves the one file that a worker left into the cache, and notes it.
func (c *codeCache) adopt(key moduleKey, dir string) error {
	var found []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("the compiler's directory: %w", err)
	}
	if len(found) != 1 {
		return fmt.Errorf("the compiler left %d files, want 1", len(found))
	}
	rel, err := filepath.Rel(dir, found[0])
	if err != nil {
		return err
	}
	e := codeEntry{Tag: c.tag, File: rel}
	if e.SHA256, e.Size, err = digest(found[0]); err != nil {
		return err
	}
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.makeRoom(e.Size); err != nil {
		return err
	}
	to := filepath.Join(c.iso.Dir, codeDir, rel)
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	if err := os.Rename(found[0], to); err != nil {
		return err
	}
	tmp := filepath.Join(dir, "index")
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, c.indexFile(key))
}
