package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caxton-run/caxton/internal/config"
)

// unknownCommand refuses a word that is no command, and offers those it may be:
// of the same noun, else of any.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	e := &usageError{text: fmt.Sprintf("unknown command %q", args[0]), next: "see: " + cmd.CommandPath() + " --help"}
	if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
		e.next = "did you mean: " + cmd.CommandPath() + " " + strings.Join(like, ", ")
	} else if like := elsewhere(cmd.Root(), args[0]); len(like) > 0 {
		e.next = "did you mean: " + strings.Join(like, ", ")
	}
	return e
}

// elsewhere finds the commands of any noun that have a name.
func elsewhere(cmd *cobra.Command, name string) []string {
	var found []string
	for _, c := range cmd.Commands() {
		if c.Hidden {
			continue
		}
		if c.Name() == name || c.HasAlias(name) {
			found = append(found, c.CommandPath())
		}
		found = append(found, elsewhere(c, name)...)
	}
	return found
}

// meantFlag says what to do about a flag that cannot be parsed: it offers the
// one that was probably meant by one that does not exist.
func meantFlag(cmd *cobra.Command, err error) string {
	if word, unknown := strings.CutPrefix(err.Error(), "unknown flag: --"); unknown {
		if best := config.Nearest(word, flagNames(cmd)); best != "" {
			return "did you mean: --" + best
		}
	}
	return "see: " + cmd.CommandPath() + " --help"
}

// flagNames reads a command's flags from its help, which is the one list of them
// that cobra gives away without its own dependency's types.
func flagNames(cmd *cobra.Command) []string {
	var names []string
	for line := range strings.Lines(cmd.Flags().FlagUsages()) {
		for _, word := range strings.Fields(line)[:min(2, len(strings.Fields(line)))] {
			if name, ok := strings.CutPrefix(word, "--"); ok {
				names = append(names, name)
				break
			}
		}
	}
	return names
}
