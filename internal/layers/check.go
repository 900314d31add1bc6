package layers

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Fault is one breach of a rule.
type Fault struct {
	Where string // a package below Module, a folder, or file:line
	Rule  string // snake_case name of the rule
	Found string // what breaks it
	Todo  string // what to do about it
}

// String returns the fault in one line.
func (f Fault) String() string {
	return fmt.Sprintf("%s: %s: %s; %s", f.Where, f.Rule, f.Found, f.Todo)
}

// Check compares packages with the table and returns every breach, in the order
// of packages and imports.
func Check(pkgs []Package, table []Row) []Fault {
	c := checker{table: table}
	slices.SortFunc(pkgs, func(a, b Package) int { return cmp.Compare(a.ImportPath, b.ImportPath) })
	for _, p := range pkgs {
		c.check(p)
	}
	return c.faults
}

type checker struct {
	table  []Row
	faults []Fault
}

func (c *checker) fault(where, rule, found, todo string) {
	c.faults = append(c.faults, Fault{Where: where, Rule: rule, Found: found, Todo: todo})
}

func (c *checker) check(p Package) {
	name, own := below(p.ImportPath)
	switch {
	case !own:
		c.fault(p.ImportPath, "module", "is not below "+Module, "move it into the module")
		return
	case name == "":
		c.fault("the module's root", "no_go_file_at_the_root", "holds a Go package", "move it into a folder of the house")
		return
	}
	row, ok := c.row(name)
	if !ok {
		c.fault(name, "unknown_package", "has no floor", "add a row to internal/layers/table.go, or put the code where it belongs")
		return
	}
	if p.Doc == "" && len(p.GoFiles) > 0 {
		c.fault(name, "package_comment", "has none", "say in doc.go what it is, what it is not, what it guarantees, how to test it")
	}
	for _, path := range sorted(p.Imports) {
		c.checkImport(name, row, path)
	}
	for _, path := range sorted(slices.Concat(p.TestImports, p.XTestImports)) {
		c.checkTestImport(name, row, path)
	}
}

// checkImport judges an import of the package itself.
func (c *checker) checkImport(name string, row Row, path string) {
	target, own := below(path)
	if !own {
		if !standard(path) && !covered(path, slices.Concat(everywhere(), row.ThirdParty)) {
			c.fault(name, "third_party", "imports "+path,
				"keep that library behind the package that owns it, or argue for it in table.go")
		}
		return
	}
	to, ok := c.row(target)
	if !ok {
		return // a fault of the target itself, named there
	}
	switch {
	case row.Kind == TestOnly && row.Tree && strings.HasPrefix(name, row.Package+"/"):
		return // inside a tree of them there are no floors
	case slices.Contains(to.OnlyFrom, row.Package):
	case to.Kind == TestOnly:
		c.fault(name, "tests_only", "imports "+target, "only tests may; move what the product needs out of it")
	case len(to.OnlyFrom) > 0:
		c.fault(name, "only_from", "imports "+target, "only "+strings.Join(to.OnlyFrom, " and ")+" may; take an interface instead")
	case to.Kind == Support && row.Kind != Support:
	case row.Kind == Support && target != "events":
		c.fault(name, "support", "imports "+target, "a support package imports only events; take what it needs as an argument")
	case row.Kind == Support, to.Floor < row.Floor, slices.Contains(row.Beside, target):
	default:
		c.fault(name, "floor", fmt.Sprintf("on floor %d imports %s on floor %d", row.Floor, target, to.Floor),
			"import only from below: move what both need down, or take an interface declared here")
	}
}

// checkTestImport judges an import of a package's tests: they may also look
// sideways, and use test-only packages and testing libraries.
func (c *checker) checkTestImport(name string, row Row, path string) {
	target, own := below(path)
	if !own {
		if !standard(path) && !covered(path, slices.Concat(everywhere(), testLibraries(), row.ThirdParty, row.TestParty)) {
			c.fault(name, "test_third_party", "a test imports "+path,
				"use the testing libraries listed in table.go, or argue for it in the row's TestParty")
		}
		return
	}
	to, ok := c.row(target)
	switch {
	case !ok, target == name, to.Kind != Room: // a package's own tests, test-only packages, support
	case slices.Contains(to.OnlyFrom, row.Package):
	case len(to.OnlyFrom) > 0:
		c.fault(name, "only_from", "a test imports "+target, "only "+strings.Join(to.OnlyFrom, " and ")+" and its tests may")
	case row.Kind == Support && target != "events":
		c.fault(name, "support", "a test imports "+target, "a support package is tested with events alone")
	case row.Kind != Support && to.Floor > row.Floor:
		c.fault(name, "floor", fmt.Sprintf("a test on floor %d imports %s on floor %d", row.Floor, target, to.Floor),
			"test it from the upper floor instead")
	}
}

// row finds the row of a package: its own, or that of a tree it stands in.
func (c *checker) row(name string) (Row, bool) {
	for _, r := range c.table {
		if r.Package == name || r.Tree && strings.HasPrefix(name, r.Package+"/") {
			return r, true
		}
	}
	return Row{}, false
}

// below cuts the module's path off; own is false for other modules' packages.
func below(path string) (name string, own bool) {
	if path == Module {
		return "", true
	}
	return strings.CutPrefix(path, Module+"/")
}

// standard reports whether a path is of the standard library: no dot in its
// first element.
func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

func covered(path string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool {
		return path == p || strings.HasPrefix(path, p+"/")
	})
}

func sorted(list []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(list)))
}

// CheckFolders compares the folders at the top of the module with Folders.
func CheckFolders(found []string) []Fault {
	var c checker
	for _, name := range sorted(found) {
		if !slices.Contains(Folders(), name) && !slices.Contains(leftovers(), name) {
			c.fault(name, "top_level", "is no folder of the house", "put it into one of: "+strings.Join(Folders(), " "))
		}
	}
	return c.faults
}
