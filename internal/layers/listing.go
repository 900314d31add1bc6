package layers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
)

// Package is what the go command knows of one package: its imports, and those
// of its tests inside (package x) and outside (package x_test).
type Package struct {
	ImportPath   string
	Doc          string   // first sentence of the package comment
	GoFiles      []string // of the package itself, without tests
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// List asks the go command for all packages of the module in a folder. Errors
// carry what the command wrote, such as a file that does not parse.
func List(ctx context.Context, root string) ([]Package, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-deps=false",
		"-json=ImportPath,Doc,GoFiles,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list packages: %w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	return decode(out)
}

// decode reads the JSON objects that the go command prints one after another.
func decode(out []byte) ([]Package, error) {
	var pkgs []Package
	dec := json.NewDecoder(bytes.NewReader(out))
	for {
		var p Package
		switch err := dec.Decode(&p); {
		case errors.Is(err, io.EOF):
			return pkgs, nil
		case err != nil:
			return nil, fmt.Errorf("read the list of packages: %w", err)
		case p.ImportPath == "":
			return nil, errors.New("read the list of packages: one has no path")
		}
		pkgs = append(pkgs, p)
	}
}
