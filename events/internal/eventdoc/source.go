package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"reflect"
	"strconv"
	"strings"
)

// source is what the page needs of package events.
type source struct {
	structs  map[string][]field  // JSON objects, by the name of their type
	enums    map[string][]value  // by the name of their string type, in order
	docs     map[string]string   // of types, constants and functions without receiver
	payloads map[string][]string // JSON event types by file, in order
	binary   map[string][]string // event types without JSON by file, in order
	metadata string              // an example, as JSON
}

// field is one member of a struct's JSON.
type field struct {
	goName   string
	name     string // in JSON
	typ      string // as in Go
	optional bool
	meaning  string // its comment, in one line; empty without one
}

// value is one of a closed set of strings.
type value struct{ text, meaning string }

func parse(pkg fs.FS) (*source, error) {
	s := &source{
		structs: map[string][]field{}, enums: map[string][]value{}, docs: map[string]string{},
		payloads: map[string][]string{}, binary: map[string][]string{},
	}
	names, err := fs.Glob(pkg, "*.go")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		src, err := fs.ReadFile(pkg, name)
		if err != nil {
			return nil, err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		if err := s.add(name, file); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return s, nil
}

func (s *source) add(name string, file *ast.File) error {
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			s.addFunc(name, d)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if err := s.addSpec(name, d, spec); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (s *source) addFunc(file string, d *ast.FuncDecl) {
	switch {
	case d.Recv == nil:
		s.docs[d.Name.Name] = d.Doc.Text()
	case d.Name.Name == "EventType":
		if id, ok := d.Recv.List[0].Type.(*ast.Ident); ok {
			s.payloads[file] = append(s.payloads[file], id.Name)
		}
	}
}

func (s *source) addSpec(file string, d *ast.GenDecl, spec ast.Spec) error {
	doc := func(own *ast.CommentGroup) string {
		if own == nil && len(d.Specs) == 1 {
			own = d.Doc
		}
		return own.Text()
	}
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		s.docs[spec.Name.Name] = doc(spec.Doc)
		if st, ok := spec.Type.(*ast.StructType); ok {
			return s.addStruct(spec.Name.Name, st)
		}
	case *ast.ValueSpec:
		typ, ok := spec.Type.(*ast.Ident)
		if d.Tok != token.CONST || !ok || len(spec.Values) != 1 {
			return nil
		}
		lit, ok := spec.Values[0].(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return nil
		}
		text, err := strconv.Unquote(lit.Value)
		if err != nil {
			return err
		}
		s.docs[spec.Names[0].Name] = doc(spec.Doc)
		if typ.Name == "Type" && !strings.HasPrefix(text, "$") { // "$" are the log's own
			s.binary[file] = append(s.binary[file], text)
			s.docs[text] = doc(spec.Doc)
			return nil
		}
		s.enums[typ.Name] = append(s.enums[typ.Name], value{text, line(spec.Comment.Text())})
	}
	return nil
}

func (s *source) addStruct(name string, st *ast.StructType) error {
	var fields []field
	for _, f := range st.Fields.List {
		if f.Tag == nil || len(f.Names) != 1 {
			continue
		}
		tag, err := strconv.Unquote(f.Tag.Value)
		if err != nil {
			return err
		}
		jsonName, opts, _ := strings.Cut(reflect.StructTag(tag).Get("json"), ",")
		if jsonName == "" || jsonName == "-" {
			return fmt.Errorf("%s.%s has no JSON name", name, f.Names[0].Name)
		}
		comment := f.Doc.Text()
		if comment == "" {
			comment = f.Comment.Text()
		}
		fields = append(fields, field{
			goName: f.Names[0].Name, name: jsonName, typ: goType(f.Type),
			optional: strings.Contains(opts, "omitempty") || strings.Contains(opts, "omitzero"), meaning: line(comment),
		})
	}
	s.structs[name] = fields
	return nil
}

// goType prints the types that fields have; pointers as what they point to.
func goType(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.StarExpr:
		return goType(e.X)
	case *ast.SelectorExpr:
		return goType(e.X) + "." + e.Sel.Name
	case *ast.ArrayType:
		return "[]" + goType(e.Elt)
	}
	return fmt.Sprintf("%T", e) // no type of JSON: an error when it is rendered
}

// line makes one line of a comment.
func line(text string) string { return strings.Join(strings.Fields(text), " ") }
