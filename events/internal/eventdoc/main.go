package main

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// page is where the page stands, below the module's root.
const page = "docs/events.md"

func main() {
	root := flag.String("root", ".", "folder of the module")
	flag.Parse()
	if err := run(*root); err != nil {
		fmt.Fprintln(os.Stderr, "eventdoc:", err)
		os.Exit(1)
	}
}

func run(root string) error {
	b, err := generate(os.DirFS(filepath.Join(root, "events")))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, filepath.FromSlash(page)), b, 0o644)
}

// generate returns the page for the sources and golden files of package events.
func generate(pkg fs.FS) ([]byte, error) {
	src, err := parse(pkg)
	if err != nil {
		return nil, err
	}
	list, err := src.events(pkg)
	if err != nil {
		return nil, err
	}
	return render(src, list)
}
