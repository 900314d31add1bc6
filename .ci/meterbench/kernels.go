package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// file is a module with kernels: functions that take a size and return a
// checksum.
type file struct {
	name    string // of the language
	path    string // below wasmhost/meter/testdata; .gz is unpacked
	reactor bool   // _initialize comes before anything else
	kernels []kernel
}

type kernel struct {
	name   string
	n      uint32 // takes some 10 ms
	varies bool   // the checksum depends on earlier calls or on hash seeds
}

func files() []file {
	return []file{
		{"C", "kernels.wasm", false, []kernel{
			{name: "fib", n: 29}, {name: "sieve", n: 1_000_000}, {name: "matmul", n: 40}, {name: "crc32", n: 500_000},
			{name: "quicksort", n: 65_000}, {name: "sha", n: 20_000}, {name: "mandel", n: 300}, {name: "hashmap", n: 50_000},
			{name: "interpreter", n: 300_000}, {name: "indirect", n: 4_000_000}, {name: "bulk", n: 40_000}, {name: "collatz", n: 60_000},
		}},
		{"C++", "guests/cpp.wasm", true, []kernel{{name: "shapes", n: 2000}, {name: "maps", n: 40_000}, {name: "sorting", n: 200}}},
		{"Rust", "guests/rust.wasm", false, []kernel{{name: "json", n: 200}, {name: "maps", n: 100_000, varies: true}, {name: "text", n: 500}}},
		{"AssemblyScript", "guests/assemblyscript.wasm", false, []kernel{{name: "tree", n: 500}, {name: "text", n: 100}, {name: "maps", n: 100_000}}},
		{"Go", "guests/go.wasm.gz", true, []kernel{{name: "json", n: 30}, {name: "regexp", n: 100}, {name: "template", n: 50}, {name: "sort", n: 40, varies: true}}},
	}
}

// load brings a module up in all modes.
func (f file) load(root string) (guests [modeCount]guest, err error) {
	wasm, err := f.read(root)
	if err != nil {
		return guests, err
	}
	for i, m := range modes() {
		if guests[i], err = m.load(wasm); err != nil {
			return guests, fmt.Errorf("%s in %s: %w", f.name, m.name, err)
		}
		if err := guests[i].ready(); err != nil {
			return guests, err
		}
		if !f.reactor {
			continue
		}
		if _, err := guests[i].call("_initialize", 0); err != nil {
			return guests, fmt.Errorf("%s in %s: %w", f.name, m.name, err)
		}
	}
	return guests, nil
}

func (f file) read(root string) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(root, "wasmhost", "meter", "testdata", f.path))
	if err != nil || !strings.HasSuffix(f.path, ".gz") {
		return b, err
	}
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}
