package layers

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
)

// Limits of style: what fits a head, and a screen or two.
const (
	MaxFileLines     = 500
	MaxFunctionLines = 70
)

// Lint checks one Go file against the rules of style and returns every breach,
// in the order of the file. Generated files are exempt. name is how faults name
// the file; it ends in _test.go for a test. An error is a file that does not
// parse.
func Lint(name string, src []byte) ([]Fault, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("lint: %w", err)
	}
	if ast.IsGenerated(file) {
		return nil, nil
	}
	l := linter{name: name, fset: fset, file: file}
	if strings.HasSuffix(name, "_test.go") {
		l.sleeps()
	} else {
		l.sizes()
		if file.Name.Name != "main" {
			l.documented()
		}
	}
	l.inits()
	return l.faults, nil
}

type linter struct {
	name   string
	fset   *token.FileSet
	file   *ast.File
	faults []Fault
}

func (l *linter) line(p token.Pos) int { return l.fset.PositionFor(p, false).Line }

func (l *linter) fault(at token.Pos, rule, found, todo string) {
	where := l.name + ":" + strconv.Itoa(l.line(at))
	l.faults = append(l.faults, Fault{Where: where, Rule: rule, Found: found, Todo: todo})
}

func (l *linter) sizes() {
	if n := l.line(l.file.FileEnd); n > MaxFileLines {
		l.fault(l.file.Package, "file_length", fmt.Sprintf("%d lines, at most %d", n, MaxFileLines),
			"split it by idea")
	}
	for _, decl := range l.file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if n := l.line(f.End()) - l.line(f.Pos()) + 1; n > MaxFunctionLines {
			l.fault(f.Pos(), "function_length", fmt.Sprintf("%s has %d lines, at most %d", f.Name.Name, n, MaxFunctionLines),
				"keep the control flow and move the leaves out")
		}
	}
}

func (l *linter) inits() {
	for _, decl := range l.file.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
			l.fault(f.Pos(), "no_init", "has func init", "do it where the program is wired, in cmd/caxton, or in a constructor")
		}
	}
}

// sleeps finds uses of time.Sleep, under whatever name the file imports time.
func (l *linter) sleeps() {
	local := ""
	for _, imp := range l.file.Imports {
		if imp.Path.Value == `"time"` {
			local = "time"
			if imp.Name != nil {
				local = imp.Name.Name
			}
		}
	}
	if local == "" {
		return
	}
	ast.Inspect(l.file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok || sel.Sel.Name != "Sleep" {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && x.Name == local {
			l.fault(sel.Pos(), "no_sleep_in_tests", "calls time.Sleep", "wait for a condition, or use testing/synctest")
		}
		return true
	})
}

// documented wants a comment at each exported name of the package's surface. In
// a group, the group's comment counts, and so does one at the end of a line.
func (l *linter) documented() {
	for _, decl := range l.file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d.Recv) {
				l.undocumented(d.Pos(), d.Name.Name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				l.documentedSpec(d, spec)
			}
		}
	}
}

func (l *linter) documentedSpec(d *ast.GenDecl, spec ast.Spec) {
	switch s := spec.(type) {
	case *ast.TypeSpec:
		if s.Name.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
			l.undocumented(s.Pos(), s.Name.Name)
		}
	case *ast.ValueSpec:
		for _, name := range s.Names {
			if name.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
				l.undocumented(name.Pos(), name.Name)
			}
		}
	}
}

func (l *linter) undocumented(at token.Pos, name string) {
	l.fault(at, "documented", "exported "+name+" has no comment", "say what it promises: units, ranges, errors by name")
}

// exportedReceiver reports whether a function is no method, or one of an
// exported type.
func exportedReceiver(recv *ast.FieldList) bool {
	if recv == nil || len(recv.List) == 0 {
		return true
	}
	t := recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.ParenExpr:
			t = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return true
		}
	}
}
