package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caxton-run/caxton/events"
	caxtonhttp "github.com/caxton-run/caxton/http"
)

// maxModuleFile is the largest module any server can be configured to take.
const maxModuleFile = 64 << 20

// deployFlags is what the flags of "agent deploy" say.
type deployFlags struct {
	name     string
	unique   bool
	limits   limitFlags
	priority string
	labels   []string
}

func (a *app) deployCommand() *cobra.Command {
	var in deployFlags
	cmd := &cobra.Command{
		Use:        "deploy FILE",
		SuggestFor: []string{"create", "add", "upload", "push", "install"},
		Short:      "Make an agent of a WebAssembly module; - reads it from standard input",
		Example: "  caxton agent deploy counter.wasm --name counter\n" +
			"  caxton agent deploy shop.wasm --name shop --max-memory 64MiB --max-fuel 1000000 --max-time 5s --label team=sales",
		Args: exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := in.deployment(args[0], cmd.Flags().Changed)
			if err != nil {
				return err
			}
			if d.Wasm, err = a.readModule(args[0]); err != nil {
				return err
			}
			c, err := a.server()
			if err != nil {
				return err
			}
			v, err := c.Deploy(cmd.Context(), d)
			if err != nil {
				return err
			}
			for _, w := range v.Warnings {
				a.note("warning: %s", oneLine(w))
			}
			if done, err := a.structured(v); done {
				return err
			}
			a.printf("%s is deployed as %s\n", v.Name, v.ID)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&in.name, "name", "", "the agent's name, 1 to 64 characters (default the file's)")
	f.BoolVar(&in.unique, "unique-name", false, "refuse when an agent has the name")
	in.limits.add(cmd, "the server's")
	f.StringVar(&in.priority, "priority", "", "low, normal, high or critical (default normal)")
	f.StringArrayVar(&in.labels, "label", nil, "key=value; may be given again")
	return cmd
}

// deployment checks the flags.
func (in deployFlags) deployment(file string, given func(string) bool) (caxtonhttp.Deployment, error) {
	d := caxtonhttp.Deployment{Name: in.name, UniqueName: in.unique, Priority: events.Priority(in.priority)}
	if !given("name") {
		if file == "-" {
			return d, usagef("--name is needed for a module from standard input")
		}
		d.Name = strings.TrimSuffix(filepath.Base(file), ".wasm")
	}
	name, err := events.CleanName(d.Name)
	if err != nil {
		return d, usagef("--%s", err)
	}
	d.Name = name
	if d.Limits, err = in.limits.resources(given); err != nil {
		return d, err
	}
	if _, err := events.ParsePriority(in.priority); err != nil {
		return d, usagef("--%s", err)
	}
	d.Labels, err = parseLabels(in.labels)
	return d, err
}

func (a *app) readModule(file string) ([]byte, error) {
	in := a.stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, usagef("cannot read the module: %s", err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxModuleFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("cannot read the module: %w", err)
	case len(b) > maxModuleFile:
		return nil, usagef("%s is larger than %s", file, bytesOf(maxModuleFile))
	case len(b) == 0:
		return nil, usagef("%s is empty", file)
	}
	return b, nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
