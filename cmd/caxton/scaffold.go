package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caxton-run/caxton/fixtures"
)

func (a *app) initCommand() *cobra.Command {
	var lang, name string
	all := strings.Join(fixtures.Languages(), ", ")
	cmd := &cobra.Command{
		Use:        "init --lang LANGUAGE DIR",
		SuggestFor: []string{"new", "create", "scaffold", "begin"},
		Short:      "Begin an agent: write a project that builds, with the SDK of its language",
		Long: "Begin an agent: write a project that builds, with the SDK of its language. DIR must be empty, or not\n" +
			"there yet. Nothing is fetched, and no server is needed.\n\nLanguages: " + all + ".",
		Example: "  caxton agent init --lang go tally\n  caxton agent init --lang rust --name price-watcher ~/agents/prices",
		Args:    exactly("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if lang == "" {
				return &usageError{text: "--lang is needed: " + all, next: "see: caxton agent init --help"}
			}
			name, err := projectName(name, args[0])
			if err != nil {
				return err
			}
			p, err := fixtures.NewProject(lang, name)
			if err != nil {
				return &usageError{text: "--" + err.Error(), next: meantLanguage(lang)}
			}
			return a.beginProject(args[0], name, p)
		},
	}
	f := cmd.Flags()
	f.StringVar(&lang, "lang", "", all+" (required)")
	f.StringVar(&name, "name", "", "of the project and its agent (default the directory's)")
	_ = cmd.RegisterFlagCompletionFunc("lang", cobra.FixedCompletions(fixtures.Languages(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// projectName is what was given, or the directory's own name.
func projectName(given, dir string) (string, error) {
	if given != "" {
		if err := fixtures.CheckProjectName(given); err != nil {
			return "", usagef("--%s", err)
		}
		return given, nil
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	name := filepath.Base(abs)
	if err := fixtures.CheckProjectName(name); err != nil {
		return "", &usageError{text: "the directory's " + err.Error(), next: "choose another with: --name"}
	}
	return name, nil
}

// meantLanguage offers the language that an unknown one probably stands for.
func meantLanguage(lang string) string {
	lang = strings.ToLower(lang)
	for meant, others := range map[string][]string{
		"assemblyscript": {"as", "asc", "ts", "typescript", "js", "javascript"},
		"c":              {"c++", "cpp", "clang"},
		"go":             {"golang", "tinygo"},
		"rust":           {"rs", "cargo"},
	} {
		if lang == meant || slices.Contains(others, lang) {
			return "did you mean: --lang " + meant
		}
	}
	return "see: caxton agent init --help"
}

// begun is the structured form of "agent init".
type begun struct {
	Dir    string   `json:"dir"`
	Name   string   `json:"name"`
	Files  []string `json:"files"`
	Build  string   `json:"build"`
	Run    string   `json:"run"`
	Deploy string   `json:"deploy"`
}

func (a *app) beginProject(dir, name string, p fixtures.Project) error {
	if err := emptyDir(dir); err != nil {
		return err
	}
	out := begun{Dir: dir, Name: name, Build: p.Build, Run: p.Run, Deploy: p.Deploy}
	for _, f := range p.Files {
		to := filepath.Join(dir, filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return fmt.Errorf("make a folder of the project: %w", err)
		}
		if err := os.WriteFile(to, f.Content, 0o644); err != nil {
			return fmt.Errorf("write a file of the project: %w", err)
		}
		out.Files = append(out.Files, f.Path)
	}
	if done, err := a.structured(out); done {
		return err
	}
	for _, f := range out.Files {
		a.printf("%s\n", filepath.Join(dir, filepath.FromSlash(f)))
	}
	needs := strings.NewReplacer("`", "", "\n", " ").Replace(p.Needs)
	a.printf("\n%s\n\n  cd %s\n  %s\n  %s\n  %s\n", needs, dir, p.Build, p.Run, p.Deploy)
	return nil
}

// emptyDir refuses a place where something is.
func emptyDir(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return usagef("cannot use %s: %s", dir, err)
	case len(entries) > 0:
		return &failure{exit: exitConflict, text: fmt.Sprintf("%s is not empty: it holds %s", dir, entries[0].Name()), next: "name a directory that is empty, or not there yet"}
	}
	return nil
}
