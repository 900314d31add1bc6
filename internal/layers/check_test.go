package layers

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// pkg fabricates a documented package; imports without a dot in their first
// element are of this module when they begin with "~".
func pkg(name string, imports ...string) Package {
	return Package{ImportPath: home("~" + name), Doc: "d", GoFiles: []string{"a.go"}, Imports: homes(imports)}
}

func tested(name string, imports ...string) Package {
	return Package{ImportPath: home("~" + name), XTestImports: homes(imports)}
}

func home(path string) string {
	if rest, ok := strings.CutPrefix(path, "~"); ok {
		return strings.TrimSuffix(Module+"/"+rest, "/")
	}
	return path
}

func homes(paths []string) []string {
	var out []string
	for _, p := range paths {
		out = append(out, home(p))
	}
	return out
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name string
		pkg  Package
		want []string // rules broken
	}{
		{"down", pkg("actors", "~events", "~actors/agent", "~replay", "~wasmhost", "context", "net/http"), nil},
		{"up", pkg("events", "~wasmhost"), []string{"floor"}},
		{"far up", pkg("replay", "~actors"), []string{"floor"}},
		{"sideways", pkg("projections", "~actors/agent"), []string{"floor"}},
		{"sideways, as the table says", pkg("wasmhost", "~wasmhost/meter"), nil},
		{"the table says it one way only", pkg("wasmhost/meter", "~wasmhost"), []string{"floor"}},
		{"two faults, each named", pkg("events", "~http", "~actors"), []string{"floor", "only_from"}},

		{"http from the command", pkg("cmd/caxton", "~http", "~actors"), nil},
		{"http from below", pkg("actors", "~http"), []string{"only_from"}},
		{"http from a support package", pkg("internal/backup", "~http"), []string{"only_from"}},
		{"http from a test-only package", pkg("internal/harness", "~http"), []string{"only_from"}},

		{"support from anywhere", pkg("wasmhost/meter", "~internal/version"), nil},
		{"support on events", pkg("internal/config", "~events"), nil},
		{"support on a room", pkg("internal/config", "~projections"), []string{"support"}},
		{"support on support", pkg("internal/config", "~internal/version"), []string{"support"}},

		{"fixtures in the product", pkg("actors", "~fixtures"), []string{"tests_only"}},
		{"fixtures in the command", pkg("cmd/caxton", "~fixtures"), nil},
		{"a part of fixtures on another", pkg("fixtures/agents/x", "~fixtures/sdk/go"), nil},
		{"fixtures on events", pkg("fixtures", "~events"), nil},
		{"fixtures on the host", pkg("fixtures", "~wasmhost"), []string{"floor"}},
		{"the suite of stores in a store", pkg("events/pebblestore", "~events/storetest"), []string{"tests_only"}},

		{"own library", pkg("events/pebblestore", "github.com/cockroachdb/pebble/v2/vfs"), nil},
		{"another's library", pkg("projections", "github.com/cockroachdb/pebble/v2"), []string{"third_party"}},
		{"a library with a like name", pkg("events/pebblestore", "github.com/cockroachdb/pebble/v2x"), []string{"third_party"}},
		{"identifiers", pkg("projections", "github.com/google/uuid"), nil},
		{"a testing library in the product", pkg("actors", "github.com/google/go-cmp/cmp"), []string{"third_party"}},

		{"unknown package", pkg("utils"), []string{"unknown_package"}},
		{"unknown below a known one", pkg("actors/util", "~http"), []string{"unknown_package"}},
		{"the root", pkg(""), []string{"no_go_file_at_the_root"}},
		{"another module", Package{ImportPath: "example.org/x"}, []string{"module"}},
		{"no package comment", Package{ImportPath: home("~events"), GoFiles: []string{"a.go"}}, []string{"package_comment"}},

		{"a test with libraries", tested("actors", "go.uber.org/goleak", "github.com/google/go-cmp/cmp", "testing"), nil},
		{"a test with test-only packages", tested("actors", "~fixtures", "~internal/harness", "~events/storetest", "~actors"), nil},
		{"a test that looks sideways", tested("projections", "~actors/agent"), nil},
		{"a test that looks up", tested("events", "~events/pebblestore"), []string{"floor"}},
		{"a test of the command", tested("cmd/caxton", "~http"), nil},
		{"a test on http", tested("actors", "~http"), []string{"only_from"}},
		{"a test of http", tested("http", "~http"), nil},
		{"a test with the row's library", tested("wasmhost/meter", "github.com/tetratelabs/wazero/api"), nil},
		{"a test with another's library", tested("events", "github.com/tetratelabs/wazero"), []string{"test_third_party"}},
		{"a support test on a room", tested("internal/config", "~projections"), []string{"support"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, f := range Check([]Package{c.pkg}, Table()) {
				if f.Where == "" || f.Found == "" || f.Todo == "" {
					t.Errorf("fault says too little: %+v", f)
				}
				got = append(got, f.Rule)
			}
			slices.Sort(got)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("rules broken (-want +got):\n%s", diff)
			}
		})
	}
}

// TestInternalTests covers the other list of test imports.
func TestInternalTests(t *testing.T) {
	p := Package{ImportPath: home("~events"), TestImports: []string{home("~wasmhost")}}
	if got := Check([]Package{p}, Table()); len(got) != 1 || got[0].Rule != "floor" {
		t.Errorf("faults %v, want one of floor", got)
	}
}

func TestFaultReads(t *testing.T) {
	got := Check([]Package{pkg("replay", "~actors")}, Table())
	const want = "replay: floor: on floor 3 imports actors on floor 4; " +
		"import only from below: move what both need down, or take an interface declared here"
	if len(got) != 1 || got[0].String() != want {
		t.Errorf("got %v\nwant %s", got, want)
	}
}

func TestCheckFolders(t *testing.T) {
	got := CheckFolders([]string{"pkg", "events", ".git", "docs", "caxton-data", "util"})
	if len(got) != 2 || got[0].Where != "pkg" || got[1].Where != "util" {
		t.Errorf("faults %v, want pkg and util", got)
	}
}

// TestTable keeps the data sound: names that exist, each once.
func TestTable(t *testing.T) {
	rows := map[string]Row{}
	for _, r := range Table() {
		if _, twice := rows[r.Package]; twice {
			t.Errorf("%s has two rows", r.Package)
		}
		rows[r.Package] = r
	}
	for _, r := range Table() {
		for _, b := range r.Beside {
			if to, ok := rows[b]; !ok || to.Floor != r.Floor {
				t.Errorf("%s: beside %s, which is not on its floor", r.Package, b)
			}
		}
		for _, o := range r.OnlyFrom {
			if _, ok := rows[o]; !ok {
				t.Errorf("%s: only from %s, which has no row", r.Package, o)
			}
		}
	}
}

func TestDecode(t *testing.T) {
	got, err := decode([]byte(`{"ImportPath":"a","Imports":["b"]}` + "\n" + `{"ImportPath":"c"}`))
	want := []Package{{ImportPath: "a", Imports: []string{"b"}}, {ImportPath: "c"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
	for _, bad := range []string{"{", "[]", `{"ImportPath":""}`, `{"ImportPath":"a"} x`} {
		if _, err := decode([]byte(bad)); err == nil {
			t.Errorf("decode(%s): no error", bad)
		}
	}
}

func TestListNamesTheTrouble(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"go.mod": "module " + Module + "\n", "broken.go": "pakkage x\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := List(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "broken.go") {
		t.Errorf("error %v, want one that says what go list said", err)
	}
}
