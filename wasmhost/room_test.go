package wasmhost

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestCacheIsSwept: code of other versions, and code without a note, which nobody
// counts, is gone when the cache is opened again; what is of use stays.
func TestCacheIsSwept(t *testing.T) {
	iso := Isolation{Dir: filepath.Join(t.TempDir(), "compiled"), Cache: 64 << 20, Timeout: time.Second, Memory: 64 << 20}
	open := func() *codeCache {
		t.Helper()
		c, err := openCodeCache(iso)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.engine.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := open()
	path := func(parts ...string) string { return filepath.Join(append([]string{iso.Dir}, parts...)...) }
	write := func(name, content string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, tag := range map[string]string{"present": c.tag, "past": "wazero v0"} {
		note, err := json.Marshal(codeEntry{Tag: tag, File: filepath.Join("engine", name), Size: 4})
		if err != nil {
			t.Fatal(err)
		}
		write(path(indexDir, name+".json"), string(note))
		write(path(codeDir, "engine", name), "code")
	}
	write(path(codeDir, "engine", "orphan"), "code")
	write(path(codeDir, "older-engine", "orphan"), "code")
	open()
	for name, stays := range map[string]bool{
		path(indexDir, "present.json"): true, path(codeDir, "engine", "present"): true,
		path(indexDir, "past.json"): false, path(codeDir, "engine", "past"): false,
		path(codeDir, "engine", "orphan"): false, path(codeDir, "older-engine", "orphan"): false,
	} {
		if _, err := os.Stat(name); (err == nil) != stays {
			t.Errorf("%s: stays is to be %v, got %v", name, stays, err)
		}
	}
}
