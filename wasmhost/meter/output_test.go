package meter

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

var updateOutput = flag.Bool("update-output", false, "write testdata/output.txt anew; raise Version first")

// outputSums instruments modules of all sorts, and returns one line for each sort:
// its name and a hash of all that came out.
func outputSums(t *testing.T) string {
	var out bytes.Buffer
	sum := func(name string, modules [][]byte) {
		h := sha256.New()
		for _, src := range modules {
			metered, _, err := Instrument(src, Options{Caps: specCaps()})
			fmt.Fprintf(h, "%d %v ", len(metered), err == nil)
			h.Write(metered)
		}
		fmt.Fprintf(&out, "%s: %d modules, %x\n", name, len(modules), h.Sum(nil))
	}
	fmt.Fprintf(&out, "version %d\n", Version)
	written := [][]byte{kernels(t)}
	for _, g := range guests() {
		written = append(written, guestModule(t, g.name))
	}
	sum("guests", written)
	var made [][]byte
	for seed := range uint64(300) {
		made = append(made, program(seed), frameModule(seed))
	}
	sum("programs", made)
	var shapes [][]byte
	all := frameShapes()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		shapes = append(shapes, all[name])
	}
	sum("shapes", shapes)
	for _, version := range []string{"v1", "v2"} {
		files, err := filepath.Glob(filepath.Join(specDir(t, version), "*.wasm"))
		if err != nil || len(files) == 0 {
			t.Fatal("no modules of the specification's suites: ", err)
		}
		var suite [][]byte
		for _, f := range files {
			src, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			suite = append(suite, src)
		}
		sum("suite "+version, suite)
	}
	return out.String()
}

// TestOutputIsOfVersion: whoever changes what Instrument emits raises Version, as
// compiled code is kept under it, and fuel is compared only between equal ones.
// After that, write the new hashes with -update-output. A change of the modules
// alone (another engine, whose suites they are) needs no new version.
func TestOutputIsOfVersion(t *testing.T) {
	golden := filepath.Join("testdata", "output.txt")
	got := outputSums(t)
	if *updateOutput {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the output has changed: raise Version, then write it with -update-output\n got %s\nwant %s", got, want)
	}
}
