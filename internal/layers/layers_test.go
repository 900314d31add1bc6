package layers

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const root = "../.."

// TestModule holds the whole module against the table.
func TestModule(t *testing.T) {
	pkgs, err := List(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, p := range pkgs {
		seen[p.ImportPath] = true
	}
	if !seen[Module+"/events"] || !seen[Module+"/internal/layers"] {
		t.Fatalf("the list of %d packages is not this module's", len(pkgs))
	}
	report(t, Check(pkgs, Table()))
}

// TestTopLevel holds the folders and files at the root against the house.
func TestTopLevel(t *testing.T) {
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	var folders []string
	for _, e := range entries {
		switch {
		case e.IsDir():
			folders = append(folders, e.Name())
		case filepath.Ext(e.Name()) == ".go":
			t.Errorf("%s: no_go_file_at_the_root: move it into a folder of the house", e.Name())
		}
	}
	report(t, CheckFolders(folders))
}

// TestStyle lints every Go file of the module, guests and other platforms' files
// included.
func TestStyle(t *testing.T) {
	files := 0
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir():
			if e.Name() == "testdata" || e.Name() != filepath.Base(root) && strings.HasPrefix(e.Name(), ".") {
				return filepath.SkipDir
			}
			return nil
		case filepath.Ext(path) != ".go":
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		faults, err := Lint(filepath.ToSlash(name), src)
		files++
		report(t, faults)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 20 {
		t.Errorf("linted %d files: the walk has missed the module", files)
	}
}

func report(t *testing.T, faults []Fault) {
	t.Helper()
	for _, f := range faults {
		t.Error(f)
	}
}
